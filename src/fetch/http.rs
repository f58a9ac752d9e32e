//! One question to a server, and its answer.

use std::time::Duration;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status, 200 being well.
    pub status: u16,
    /// What it sent.
    pub body: Vec<u8>,
}

/// The most that is read of an answer.
const ANSWER_BYTES: u64 = 64 << 20;
/// A server that says nothing for so long is away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `body` (as JSON if `json`, else as it is), or asks for `url` where there is none.
///
/// # Errors
/// No answer: why, for people.
pub fn exchange(
    method: &str,
    url: &str,
    authorization: Option<&str>,
    body: Option<(&[u8], bool)>,
) -> Result<Answer, String> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_global(Some(PATIENCE))
        .user_agent(super::NAME)
        .build();
    let agent: ureq::Agent = config.into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    if let Some((_, json)) = body {
        request = request.header("Content-Type", if json { "application/json" } else { "application/octet-stream" });
    }
    let request = request.body(body.map_or(&b""[..], |(bytes, _)| bytes)).map_err(|fault| fault.to_string())?;
    let mut response = agent.run(request).map_err(|fault| fault.to_string())?;
    let status = response.status().as_u16();
    let body =
        response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec().map_err(|fault| fault.to_string())?;
    Ok(Answer { status, body })
}
