//! The configurations that nodes are deployed with: that each is one.

use crate::program::{Home, end, repository};

const FILES: &[&str] = &[
    "docker/crane.toml",
    "docker/kubernetes/postgres/crane.toml",
    "docker/kubernetes/home/crane.toml",
];

#[test]
fn what_nodes_are_deployed_with_is_accepted() {
    let home = Home::new();
    let secret = home.file("secret", "0123456789abcdef0123456789abcdef\n");
    let url = "postgres://crane:p@postgres:5432/crane?sslmode=disable\n";
    let url = home.file("url", url);
    for file in FILES {
        let path = repository(file);
        let text = std::fs::read_to_string(&path).unwrap();
        // What the environment of each node adds, and secrets where there are some here.
        let check = |settings: &[(&str, &str)]| {
            let mut command = home.command(["config", "check", "--config"]);
            command.arg(&path).envs(settings.iter().copied());
            if text.contains("url_file") {
                command.env("CRANE__STORE__URL_FILE", &url);
            }
            command.env("CRANE__CLUSTER__SECRETS_FILE", &secret);
            end(assert_cmd::Command::from_std(command))
        };
        let name = ("CRANE__NODE__NAME", "crane-1");
        let place = ("CRANE__CLUSTER__ADVERTISE", "crane-1:7946");
        let tokens = ("CRANE__API__TOKENS", "one-token-of-some-length");
        let checked = check(&[name, place, tokens]);
        assert_eq!(checked.code, Some(0), "{file}: {checked:?}");
        // Nothing that lets strangers in is there by default.
        let open = check(&[name, place]);
        assert_eq!(open.code, Some(2), "{file}: {open:?}");
        assert!(open.stderr.contains("api.tokens"), "{file}: {open:?}");
    }
}
