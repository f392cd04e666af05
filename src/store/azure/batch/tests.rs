use azure_core::Method;

use super::*;
use crate::store::table::{Row, Value};

fn ops() -> Batch {
    let row = |key: &str| Row::new(key).with("Text", Value::Str("a\u{2028}b\u{2029}\"\n".to_owned()));
    let ops = vec![
        Op::Replace(Row::new("c|head").with("Last", Value::Int(7)), ETag("W/\"1\"".into())),
        Op::Insert(row("e|1")),
        Op::Upsert(row("s|it's ü")),
        Op::Overwrite(Row::new("s|b").with("Last", Value::Int(7))),
        Op::Delete("a|x".to_owned()),
    ];
    Batch::new("00", ops).unwrap()
}

fn written() -> Body {
    write("https://acme.table.core.windows.net", &TableName::new("annals1").unwrap(), &ops()).unwrap()
}

#[test]
fn a_transaction_is_written_as_the_service_documents() {
    let Body { content_type, bytes } = written();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let outer = content_type.strip_prefix("multipart/mixed; boundary=").unwrap();
    let inner = text.split("boundary=").nth(1).unwrap().split("\r\n").next().unwrap();
    assert_ne!(outer.strip_prefix("batch_"), inner.strip_prefix("changeset_"));
    let text = text.replace(outer, "batch_b").replace(inner, "changeset_c");
    let part = "--changeset_c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    let accept = "Accept: application/json;odata=minimalmetadata\r\n";
    let json = "Content-Type: application/json\r\n\r\n";
    let url = "https://acme.table.core.windows.net/annals1";
    let content = r#""Text":"a\u2028b\u2029\"\n""#;
    let wanted = format!(
        "--batch_b\r\nContent-Type: multipart/mixed; boundary=changeset_c\r\n\r\n\
         {part}PUT {url}(PartitionKey='00',RowKey='c%7Chead') HTTP/1.1\r\nIf-Match: W/\"1\"\r\n{accept}{json}\
         {{\"PartitionKey\":\"00\",\"RowKey\":\"c|head\",\"Last@odata.type\":\"Edm.Int64\",\"Last\":\"7\"}}\r\n\
         {part}POST {url} HTTP/1.1\r\nPrefer: return-no-content\r\n{accept}{json}\
         {{\"PartitionKey\":\"00\",\"RowKey\":\"e|1\",{content}}}\r\n\
         {part}PUT {url}(PartitionKey='00',RowKey='s%7Cit%27%27s%20%C3%BC') HTTP/1.1\r\n{accept}{json}\
         {{\"PartitionKey\":\"00\",\"RowKey\":\"s|it's ü\",{content}}}\r\n\
         {part}PUT {url}(PartitionKey='00',RowKey='s%7Cb') HTTP/1.1\r\nIf-Match: *\r\n{accept}{json}\
         {{\"PartitionKey\":\"00\",\"RowKey\":\"s|b\",\"Last@odata.type\":\"Edm.Int64\",\"Last\":\"7\"}}\r\n\
         {part}DELETE {url}(PartitionKey='00',RowKey='a%7Cx') HTTP/1.1\r\nIf-Match: *\r\n{accept}\r\n\r\n\
         --changeset_c--\r\n--batch_b--\r\n"
    );
    assert_eq!(text, wanted);
}

#[test]
fn a_transaction_is_no_longer_than_its_batch_was_counted() {
    let long =
        |key: &str| Row::new(key.repeat(160)).with("Text", Value::Str("\u{1}é\u{2028}\"".repeat(2_000)));
    let ops = vec![Op::Insert(long("~")), Op::Upsert(long("|")), Op::Delete("ü".repeat(160))];
    let batch = Batch::new("00", ops).unwrap();
    let endpoint = format!("https://{}.table.core.windows.net", "a".repeat(24));
    let table = TableName::new(&"t".repeat(63)).unwrap();
    let Body { bytes, .. } = write(&endpoint, &table, &batch).unwrap();
    assert!(bytes.len() <= batch.encoded_len(), "{} bytes, {} counted", bytes.len(), batch.encoded_len());
}

#[tokio::test]
async fn what_we_wrote_takes_the_place_of_the_sdks_text() {
    let mut request = Request::new("https://acme.example/$batch".parse().unwrap(), Method::Post);
    request.insert_header(CONTENT_TYPE, "multipart/mixed; boundary=batch_sdk");
    request.set_body("--batch_sdk");
    let mut context = Context::new();
    // There is no transport behind it.
    assert!(OwnBody.send(&context, &mut request, &[]).await.is_err());
    let text = |request: &Request| match request.body() {
        azure_core::Body::Bytes(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(&request), "--batch_sdk", "other requests pass unchanged");
    let body = written();
    let (content_type, bytes) = (body.content_type.clone(), body.bytes.clone());
    context.insert(body);
    assert!(OwnBody.send(&context, &mut request, &[]).await.is_err());
    assert_eq!(request.headers().get_str(&CONTENT_TYPE).unwrap(), content_type);
    assert_eq!(text(&request), bytes);
}

/// A reply as the service gives it: 202 outside, the truth inside.
fn reply(end: &str, parts: &[(&str, &str)]) -> Vec<u8> {
    let mut lines = vec![
        "--batchresponse_x".to_owned(),
        "Content-Type: multipart/mixed; boundary=changesetresponse_y".to_owned(),
        String::new(),
    ];
    for (head, body) in parts {
        lines.extend(["--changesetresponse_y", "Content-Type: application/http"].map(str::to_owned));
        lines.extend(["Content-Transfer-Encoding: binary", ""].map(str::to_owned));
        lines.extend(head.lines().map(str::to_owned));
        lines.extend([String::new(), (*body).to_owned()]);
    }
    lines.extend(["--changesetresponse_y--", "--batchresponse_x--", ""].map(str::to_owned));
    lines.join(end).into_bytes()
}

const CREATED: &str = "HTTP/1.1 204 No Content\nX-Content-Type-Options: nosniff\nDataServiceVersion: 3.0;\n\
    ETag: W/\"datetime'2026-11-24T10%3A00%3A00.1234567Z'\"";

fn failed(status: &str, code: &str, index: usize) -> (String, String) {
    let head =
        format!("HTTP/1.1 {status}\nDataServiceVersion: 3.0;\nContent-Type: application/json;charset=utf-8");
    let message = format!("{index}:The reason.\\nRequestId:00000000-0000-0000-0000-000000000000");
    let body = format!(
        "{{\"odata.error\":{{\"code\":\"{code}\",\"message\":{{\"lang\":\"en-US\",\"value\":\"{message}\"}}}}}}"
    );
    (head, body)
}

#[test]
fn a_refusal_inside_a_success_is_a_refusal_with_its_code_and_operation() {
    for end in ["\r\n", "\n"] {
        for (status, number, code, index) in [
            ("412 Precondition Failed", 412, "UpdateConditionNotSatisfied", 0),
            ("409 Conflict", 409, "EntityAlreadyExists", 17),
            ("503 Service Unavailable", 503, "ServerBusy", 3),
        ] {
            let (head, body) = failed(status, code, index);
            let fault = read(&reply(end, &[(&head, &body)])).unwrap_err();
            let wanted =
                Fault::Answer { status: number, code: code.into(), index: Some(index), retry_after: None };
            assert_eq!(fault, wanted);
        }
    }
}

#[test]
fn a_success_keeps_every_status_and_the_heads_version() {
    for end in ["\r\n", "\n"] {
        let plain = read(&reply(end, &[(CREATED, ""), (CREATED, "")])).unwrap();
        let wanted = "\n--changesetresponse_0\nHTTP/1.1 204\nETag: W/\"datetime'2026-11-24T10%3A00%3A00.1234567Z'\"\n\
             \n--changesetresponse_0\nHTTP/1.1 204\n";
        assert_eq!(plain, wanted);
    }
}

#[test]
fn one_failure_among_successes_is_a_failure() {
    let (head, body) = failed("412 Precondition Failed", "UpdateConditionNotSatisfied", 1);
    let fault = read(&reply("\r\n", &[(CREATED, ""), (&head, &body)])).unwrap_err();
    assert!(matches!(fault, Fault::Answer { status: 412, index: Some(1), .. }), "{fault:?}");
}

#[test]
fn a_refusal_without_words_is_still_a_refusal() {
    let fault = read(&reply("\r\n", &[("HTTP/1.1 409 Conflict", "<html>")])).unwrap_err();
    assert_eq!(fault, Fault::Answer { status: 409, code: String::new(), index: None, retry_after: None });
}

#[test]
fn a_reply_without_an_operation_makes_no_sense() {
    for body in [&b""[..], b"\xff", b"<html>hello</html>", b"HTTP/1.1 what"] {
        assert_eq!(read(body), Err(Fault::Senseless));
    }
}
