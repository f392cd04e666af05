use super::*;

/// What azure_data_tables 0.21 writes.
const WRITTEN: &str = "--batch_b\nContent-Type: multipart/mixed; boundary=changeset_c\n\n\
    --changeset_c\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n\
    POST https://acme.table.core.windows.net/t HTTP/1.1\naccept: application/json\n\n{\"Text\":\"a\u{2028}b\u{2029}\"}\n\
    --changeset_c\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n\
    DELETE https://acme.table.core.windows.net/t(PartitionKey='p',RowKey='r') HTTP/1.1\nif-match: *\n\n\
    --changeset_c--\n--batch_b\n";

#[test]
fn a_request_is_framed_as_the_service_documents() {
    let framed = String::from_utf8(frame(WRITTEN.as_bytes()).unwrap()).unwrap();
    let wanted = "--batch_b\r\nContent-Type: multipart/mixed; boundary=changeset_c\r\n\r\n\
        --changeset_c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
        POST https://acme.table.core.windows.net/t HTTP/1.1\r\nPrefer: return-no-content\r\n\
        accept: application/json\r\n\r\n{\"Text\":\"a\\u2028b\\u2029\"}\r\n\
        --changeset_c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
        DELETE https://acme.table.core.windows.net/t(PartitionKey='p',RowKey='r') HTTP/1.1\r\nif-match: *\r\n\r\n\r\n\
        --changeset_c--\r\n--batch_b--\r\n";
    assert_eq!(framed, wanted);
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
fn a_success_keeps_every_status_and_version() {
    for end in ["\r\n", "\n"] {
        let plain = read(&reply(end, &[(CREATED, ""), ("HTTP/1.1 204 No Content", "")])).unwrap();
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
