//! A plain path gives what the engine gives for it.

use proptest::prelude::*;

use super::*;

/// A run with one document everywhere.
struct Document(Json);

impl ScopeSource for Document {
    fn run_id(&self) -> RunId {
        RunId::from_time(1, [7; 10])
    }

    fn input(&self) -> &Json {
        &self.0
    }

    fn step_status(&self, step: StepIndex) -> StepStatus {
        STEPS[step.position()].1
    }

    fn step_output(&self, step: StepIndex) -> Option<&Json> {
        (self.step_status(step) == StepStatus::Completed).then_some(&self.0)
    }
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Floats that survive being read and written twice, which not all do in this JSON reader.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        "[ab\"\\\\é\n{}\\[\\]:,]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]|a-b|\"|é", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A path in a random notation.
fn path() -> impl Strategy<Value = String> {
    let root = prop_oneof![
        Just("input"),
        Just("steps.a.output"),
        Just("steps['my-id'].output"),
        Just("steps.skipped.output"),
    ];
    let segment = prop_oneof![
        4 => "[abc]".prop_map(|key| format!(".{key}")),
        2 => "([abc]|a-b|é)".prop_map(|key| format!("['{key}']")),
        4 => (0..4_usize).prop_map(|index| format!("[{index}]")),
        1 => (0..4_usize).prop_map(|index| format!(".{index}")),
    ];
    (root, prop::collection::vec(segment, 0..5))
        .prop_map(|(root, segments)| format!("{root}{}", segments.concat()))
}

/// What a template gives, or which names it says are undefined.
fn outcome(template: &str, document: &Document) -> Result<Value, String> {
    let template = compile(&json!(template)).unwrap();
    template
        .resolve(&Scope::new(document))
        .map_err(|error| match error {
            ExprError::Undefined { what, .. } => what.into(),
            other => panic!("{other}"),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_plain_path_gives_what_the_engine_gives(value in document(), path in path()) {
        // Written with spaces, as other writers of JSON do.
        let text = serde_json::to_string_pretty(&value).unwrap();
        let document = Document(Json::from_trusted(text));
        // In brackets it is no plain path, and goes through the engine.
        prop_assert_eq!(
            outcome(&format!("${{{path}}}"), &document),
            outcome(&format!("${{({path})}}"), &document)
        );
        prop_assert_eq!(
            outcome(&format!("<${{{path}}}"), &document),
            outcome(&format!("<${{({path})}}"), &document)
        );
    }
}

#[test]
fn a_whole_document_is_handed_on_without_a_copy() {
    let facts = facts();
    let scope = Scope::new(&facts);
    let same = |template: &str, document: &Json| {
        let resolved = compile(&json!(template)).unwrap().resolve_json(&scope);
        std::ptr::eq(resolved.unwrap().as_str(), document.as_str())
    };
    assert!(same("${input}", facts.input()));
    assert!(same(
        "${steps.a.output}",
        facts.step_output(StepIndex(0)).unwrap()
    ));
}

#[test]
fn a_document_that_nests_too_deep_is_refused() {
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    let document = Document(Json::from_trusted(deep));
    for template in ["${input}", "${steps.a.output}", "${(input)}"] {
        let error = compile(&json!(template))
            .unwrap()
            .resolve(&Scope::new(&document));
        assert!(
            matches!(error, Err(ExprError::TooDeep { .. })),
            "{template}"
        );
    }
    // The place in the template counts.
    let fits = format!("{}1{}", "[".repeat(63), "]".repeat(63));
    let document = Document(Json::from_trusted(fits));
    let scope = Scope::new(&document);
    assert!(
        compile(&json!(["${input}"]))
            .unwrap()
            .resolve(&scope)
            .is_ok()
    );
    assert!(
        compile(&json!([["${input}"]]))
            .unwrap()
            .resolve(&scope)
            .is_err()
    );
}
