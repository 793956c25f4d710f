//! Creates networks by Podman's own API. Its Docker API can neither name a network's bridge nor switch off
//! Podman's resolver, which answers at the machine's address.

use super::super::engine::Fault;
use serde_json::{Value, json};
use std::{collections::HashMap, io, path::Path, time::Duration};
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::UnixStream,
};

/// Path of the call.
const CREATE: &str = "/v4.0.0/libpod/networks/create";
/// Timeout of a call.
const CALL: Duration = Duration::from_secs(30);
/// Maximum length of an answer, in bytes.
const MAX_ANSWER: u64 = 65_536;

/// Creates a network that containers of other networks do not reach, without IPv6 and without a resolver.
pub(super) async fn create(
	socket: &Path,
	name: &str,
	bridge: &str,
	labels: &HashMap<String, String>,
) -> Result<(), Fault> {
	let body = |options: Value| {
		json!({
			"name": name,
			"driver": "bridge",
			"network_interface": bridge,
			"ipv6_enabled": false,
			"internal": false,
			"dns_enabled": false,
			"labels": labels,
			"options": options,
		})
	};
	match post(socket, CREATE, &body(json!({ "isolate": "true" }))).await {
		// Podman 4.0 and CNI do not know the option. The agent's table does without it.
		Err(Fault::Refused(why)) if why.contains("isolate") => {
			post(socket, CREATE, &body(json!({}))).await
		}
		made => made,
	}
}

async fn post(socket: &Path, path: &str, body: &Value) -> Result<(), Fault> {
	let body = body.to_string();
	let request = format!(
		"POST {path} HTTP/1.1\r\nHost: podman\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
		 Connection: close\r\n\r\n{body}",
		body.len()
	);
	let exchange = async {
		let mut stream = UnixStream::connect(socket).await?;
		stream.write_all(request.as_bytes()).await?;
		let mut answer = Vec::new();
		stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
		Ok::<_, io::Error>(answer)
	};
	match tokio::time::timeout(CALL, exchange).await {
		Ok(Ok(answer)) => outcome(&String::from_utf8_lossy(&answer)),
		Ok(Err(error)) => Err(Fault::Silent(error.to_string())),
		Err(_) => Err(Fault::Silent(format!("waited for {} s", CALL.as_secs()))),
	}
}

/// Returns the outcome in an HTTP answer, whose body may come in chunks.
fn outcome(answer: &str) -> Result<(), Fault> {
	let status = answer.strip_prefix("HTTP/1.").and_then(|rest| {
		let code = rest.split(' ').nth(1)?;
		code.parse::<u16>().ok()
	});
	let Some(status) = status else {
		return Err(Fault::Silent("its answer is not HTTP".into()));
	};
	if (200..300).contains(&status) {
		return Ok(());
	}
	let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
	let object = body
		.find('{')
		.zip(body.rfind('}'))
		.and_then(|(from, to)| body.get(from..=to));
	let message = object
		.and_then(|object| serde_json::from_str::<Value>(object).ok())
		.and_then(|object| Some(object.get("message")?.as_str()?.to_owned()))
		.unwrap_or_else(|| format!("HTTP status {status}"));
	Err(match status {
		404 => Fault::NotFound(message),
		_ => Fault::Refused(message),
	})
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn an_answer_tells_the_outcome_and_its_reason() {
		assert_eq!(
			outcome("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
			Ok(())
		);
		let refused = |why: &str| Err(Fault::Refused(why.into()));
		assert_eq!(
			outcome(
				"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n2c\r\n{\"cause\":\"exists\",\"message\":\
				 \"it is there\",\"response\":409}\r\n0\r\n\r\n"
			),
			refused("it is there")
		);
		assert_eq!(
			outcome("HTTP/1.1 500 x\r\n\r\n}{"),
			refused("HTTP status 500")
		);
		assert_eq!(
			outcome("HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"no\"}"),
			Err(Fault::NotFound("no".into()))
		);
		for answer in ["", "HTTP/1.1", "SSH-2.0", "HTTP/1.1 x y"] {
			assert!(matches!(outcome(answer), Err(Fault::Silent(_))), "{answer}");
		}
	}
}
