//! Redirects of the http tool.

use super::*;

fn redirect(status: u16, location: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).insert_header("location", location)
}

#[tokio::test]
async fn a_redirect_to_a_refused_address_is_refused() {
    let target = always(ResponseTemplate::new(200)).await;
    for location in [
        target.uri(),
        "http://[::1]:1/".to_owned(),
        "ftp://x/".to_owned(),
    ] {
        let server = always(redirect(302, &location)).await;
        let call = tool(&["localhost"]).call(json!({"url": by_name(&server)}), dry_run());
        let error = call.await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{location}: {error}");
    }
    assert!(received(&target).await.is_empty());
}

#[tokio::test]
async fn a_redirect_changes_the_method_as_browsers_do() {
    for (status, sent, wanted) in [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ] {
        let server = MockServer::start().await;
        Mock::given(path("/a"))
            .respond_with(redirect(status, "b?x=1#y"))
            .mount(&server)
            .await;
        Mock::given(path("/b"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
        let url = format!("{}/a", server.uri());
        let input = json!({"url": url, "method": sent, "body": "data"});
        call(input).await.unwrap();
        let requests = received(&server).await;
        let last = &requests[1];
        assert_eq!(last.method.as_str(), wanted, "{status} {sent}");
        assert_eq!(last.url.query(), Some("x=1"));
        let kept = sent == wanted;
        assert_eq!(last.body == b"data", kept, "{status} {sent}");
        assert_eq!(
            last.headers.contains_key("content-type"),
            kept,
            "{status} {sent}"
        );
    }
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let other = always(ResponseTemplate::new(200)).await;
    let server = MockServer::start().await;
    Mock::given(path("/here"))
        .respond_with(redirect(307, "/there"))
        .mount(&server)
        .await;
    Mock::given(path("/there"))
        .respond_with(redirect(307, &other.uri()))
        .mount(&server)
        .await;
    let headers = json!({"Authorization": "Bearer secret", "Cookie": "a=b", "X-Other": "kept"});
    let url = format!("{}/here", server.uri());
    call(json!({"url": url, "headers": headers})).await.unwrap();
    let there = &received(&server).await[1];
    assert!(there.headers.contains_key("authorization"));
    assert!(there.headers.contains_key("cookie"));
    let elsewhere = &received(&other).await[0];
    assert!(!elsewhere.headers.contains_key("authorization"));
    assert!(!elsewhere.headers.contains_key("cookie"));
    assert!(elsewhere.headers.contains_key("x-other"));
}

#[tokio::test]
async fn redirects_end_somewhere() {
    let server = always(redirect(302, "/again")).await;
    let error = call(json!({"url": server.uri()})).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent);
    assert!(error.message.contains("redirects"), "{error}");
    assert_eq!(received(&server).await.len(), HTTP_REDIRECTS + 1);
}

#[tokio::test]
async fn a_redirect_that_is_expected_is_not_followed() {
    let server = always(redirect(302, "/again")).await;
    let output = call(json!({"url": server.uri(), "expect_status": 302}))
        .await
        .unwrap();
    assert_eq!(output["status"], 302);
    assert_eq!(output["headers"]["location"], "/again");
}
