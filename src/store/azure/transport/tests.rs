use axum::{
    Router,
    body::Body as AxumBody,
    extract::Request as AxumRequest,
    http::{HeaderMap as AxumHeaders, StatusCode as AxumStatus},
    response::IntoResponse,
};
use azure_core::Url;
use tokio::net::TcpListener;

use super::*;

/// A service that answers every request in one way and says what it was asked.
async fn service(
    answer: impl Fn(AxumHeaders, Bytes) -> axum::response::Response + Clone + Send + Sync + 'static,
) -> Url {
    let router = Router::new().fallback(move |request: AxumRequest| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            answer(parts.headers, axum::body::to_bytes(body, usize::MAX).await.unwrap())
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/acme/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Url::parse(&url).unwrap()
}

fn transport(most: usize) -> Transport {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(300)).build().unwrap();
    Transport { http, skew: Arc::default(), throttle: Throttle::default(), most }
}

async fn send(url: &Url, method: Method, path: &str, body: &'static str) -> Result<(Headers, Bytes), Fault> {
    let mut request = Request::new(url.join(path).unwrap(), method);
    request.insert_header("accept", "application/json;odata=fullmetadata");
    request.insert_header("content-length", "1");
    request.set_body(body);
    let response = transport(1_000).execute_request(&request).await.map_err(|error| Fault::of(&error))?;
    let (_, headers, body) = response.deconstruct();
    Ok((headers, body.collect().await.unwrap()))
}

#[tokio::test]
async fn a_failed_transaction_is_no_success() {
    let body = "--batchresponse_x\r\n\r\n--changesetresponse_y\r\nContent-Type: application/http\r\n\r\n\
        HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\n\r\n\
        {\"odata.error\":{\"code\":\"EntityAlreadyExists\",\"message\":{\"lang\":\"en-US\",\"value\":\"1:The row\"}}}\r\n\
        --changesetresponse_y--\r\n--batchresponse_x--\r\n";
    let url = service(move |_, _| (AxumStatus::ACCEPTED, [("retry-after", "3")], body).into_response()).await;
    let fault = send(&url, Method::Post, "$batch", "--batch_b\n--batch_b\n").await.unwrap_err();
    let wanted = Fault::Answer {
        status: 409,
        code: "EntityAlreadyExists".into(),
        index: Some(1),
        retry_after: Some(Duration::from_secs(3)),
    };
    assert_eq!(fault, wanted);
}

#[tokio::test]
async fn an_error_code_is_found_in_the_header_or_in_the_body() {
    let code = |fault| match fault {
        Err(Fault::Answer { status: 404, code, .. }) => code,
        other => panic!("{other:?}"),
    };
    // The emulator sends the header; recorded replies of the service do not.
    let url =
        service(|_, _| (AxumStatus::NOT_FOUND, [("x-ms-error-code", "ResourceNotFound")]).into_response());
    assert_eq!(code(send(&url.await, Method::Get, "t", "").await), "ResourceNotFound");
    let body = r#"{"odata.error":{"code":"TableNotFound","message":{"lang":"en-US","value":"The table"}}}"#;
    let url = service(move |_, _| (AxumStatus::NOT_FOUND, body).into_response());
    assert_eq!(code(send(&url.await, Method::Get, "t", "").await), "TableNotFound");
    let url = service(|_, _| (AxumStatus::NOT_FOUND, "<html>https://acme?sig=secret</html>").into_response());
    assert_eq!(code(send(&url.await, Method::Get, "t", "").await), "");
}

#[tokio::test]
async fn a_request_goes_out_as_it_is_with_its_own_length_and_light_metadata() {
    let url = service(|headers, body| {
        assert_eq!(headers["accept"], "application/json;odata=minimalmetadata");
        assert_eq!(headers["content-length"], body.len().to_string().as_str());
        assert_eq!(body, "--batch_b\r\n\r\n--batch_b--\r\n");
        (AxumStatus::ACCEPTED, "--x\nHTTP/1.1 204 No Content\nETag: 1\n\n--x--\n").into_response()
    });
    let (headers, body) =
        send(&url.await, Method::Post, "$batch", "--batch_b\r\n\r\n--batch_b--\r\n").await.unwrap();
    assert_eq!(body, "\n--changesetresponse_0\nHTTP/1.1 204\nETag: 1\n");
    for name in ["server", "x-ms-request-id", "x-ms-version", "date"] {
        assert!(headers.iter().any(|(known, _)| known.as_str() == name), "{name} is there for the SDK");
    }
}

#[tokio::test]
async fn an_answer_larger_than_memory_allows_is_refused_announced_or_not() {
    let url = service(|_, _| "x".repeat(1_001).into_response());
    assert_eq!(send(&url.await, Method::Get, "t", "").await.unwrap_err(), Fault::TooLarge);
    let url = service(|_, _| {
        let chunks = (0..11).map(|_| Ok::<_, std::io::Error>("x".repeat(100)));
        AxumBody::from_stream(futures::stream::iter(chunks)).into_response()
    });
    assert_eq!(send(&url.await, Method::Get, "t", "").await.unwrap_err(), Fault::TooLarge);
    let url = service(|_, _| "x".repeat(1_000).into_response());
    assert_eq!(send(&url.await, Method::Get, "t", "").await.unwrap().1.len(), 1_000);
}

#[tokio::test]
async fn silence_and_absence_are_told_apart() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    assert_eq!(send(&url, Method::Get, "t", "").await.unwrap_err(), Fault::TimedOut);
    drop(silent);
    assert_eq!(send(&url, Method::Get, "t", "").await.unwrap_err(), Fault::Unreachable);
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", rude.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { while rude.accept().await.is_ok() {} });
    assert_eq!(send(&url, Method::Post, "t", "body").await.unwrap_err(), Fault::Broken);
}

#[tokio::test]
async fn the_services_clock_is_watched() {
    let url = service(|_, _| [("date", "Tue, 24 Nov 2020 10:00:00 GMT")].into_response()).await;
    let transport = transport(1_000);
    let request = Request::new(url, Method::Get);
    transport.execute_request(&request).await.unwrap();
    assert!(transport.skew.get() > Duration::from_secs(86_400), "{:?}", transport.skew.get());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let url = service(|_, _| (AxumStatus::FOUND, [("location", "http://127.0.0.1:1/")]).into_response());
    let fault = Transport::new(client().unwrap(), Arc::default())
        .exchange(&Request::new(url.await, Method::Get))
        .await
        .unwrap_err();
    assert!(matches!(fault, Fault::Answer { status: 302, .. }), "{fault:?}");
}
