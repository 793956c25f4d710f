//! Asks the engine about itself every minute, so that an unusable engine is known before an order fails: an
//! existing socket may belong to a group that the agent's user is not in, and an engine may be too old.

use super::{
	engine::{Engine, Fault},
	network,
	state::{EngineChoice, SupervisorState},
};
use crate::host::report::Engine as Answer;
use std::{
	io::ErrorKind,
	os::unix::{fs::MetadataExt, net::UnixStream},
	path::Path,
	sync::Arc,
	time::{Duration, Instant},
};

/// Interval of pings.
const PING: Duration = Duration::from_secs(60);
/// Interval of log lines about an unusable engine.
const AGAIN: Duration = Duration::from_secs(3_600);

/// Pings until it is dropped, and records the answers in the report.
pub(super) async fn ping(shared: Arc<SupervisorState>) {
	let mut logged: Option<Instant> = None;
	loop {
		let answer = ask(&shared).await;
		let changed = shared.report.engine(answer.clone());
		let due = changed || logged.is_none_or(|logged| logged.elapsed() > AGAIN);
		match &answer {
			Answer::Unreachable { why } | Answer::Refused { why } if due => {
				tracing::warn!("no orders can be served: {why}");
				logged = Some(Instant::now());
			}
			Answer::Missing { why } if changed => tracing::warn!("no orders can be served: {why}"),
			Answer::Ready { socket } if changed => {
				tracing::info!(socket, "the container engine answers");
			}
			Answer::Off if changed => {
				tracing::info!("no container engine is used: this machine serves no orders");
			}
			_ => {}
		}
		tokio::time::sleep(PING).await;
	}
}

async fn ask(shared: &SupervisorState) -> Answer {
	match (shared.engine(), &shared.settings.engine) {
		(Some(engine), _) => match network::plan(shared, &engine).await {
			Ok(Ok(_)) => Answer::Ready {
				socket: engine.socket().display().to_string(),
			},
			Ok(Err(why)) => Answer::Refused { why },
			Err(fault) => Answer::Unreachable {
				why: reason(&engine, &fault),
			},
		},
		(None, EngineChoice::Off) => Answer::Off,
		(None, _) => Answer::Missing {
			why: "no container engine was found. Install Docker or Podman, or name its socket with --engine; \
				  pass --no-engine if this machine is not for rent"
				.into(),
		},
	}
}

/// Returns the reason why an engine does not answer, and the remedy.
fn reason(engine: &Engine, fault: &Fault) -> String {
	let socket = engine.socket();
	let shown = socket.display();
	match UnixStream::connect(socket).map_err(|error| error.kind()) {
		Err(ErrorKind::PermissionDenied) => format!(
			"permission denied on {shown}: the agent's user may not open it. Add the user to the group {}, as \
			 root: `usermod -aG {} USER`, and restart the node or the agent",
			group_of(socket),
			group_of(socket),
		),
		Err(ErrorKind::NotFound) => format!(
			"there is no socket at {shown}. Start Docker or Podman, or name another socket with --engine"
		),
		Err(ErrorKind::ConnectionRefused) => format!(
			"nothing listens at {shown}. Start the engine, e.g. with `systemctl start docker`"
		),
		_ => fault.to_string(),
	}
}

/// Returns the group that may open a socket: its name, or its number if it has none; Docker's usual group if
/// the socket cannot be inspected.
fn group_of(socket: &Path) -> String {
	let Ok(id) = std::fs::metadata(socket).map(|metadata| metadata.gid().to_string()) else {
		return "docker".into();
	};
	let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
	let name = groups.lines().find_map(|line| {
		// NAME:PASSWORD:ID:MEMBERS
		let mut parts = line.split(':');
		let name = parts.next()?;
		(parts.nth(1)? == id).then(|| name.to_owned())
	});
	name.unwrap_or(id)
}

#[cfg(test)]
mod tests {
	use super::*;
	use std::os::unix::net::UnixListener;

	fn why(socket: &Path) -> String {
		reason(
			&Engine::new(socket),
			&Fault::Silent("waited for 10 s".into()),
		)
	}

	#[test]
	fn the_reason_names_the_remedy() {
		let dir = tempfile::tempdir().unwrap();
		let missing = why(&dir.path().join("none.sock"));
		assert!(
			missing.contains("no socket") && missing.contains("--engine"),
			"{missing}"
		);
		let path = dir.path().join("engine.sock");
		let listener = UnixListener::bind(&path).unwrap();
		assert!(
			why(&path).contains("waited for 10 s"),
			"it is there and silent"
		);
		drop(listener);
		assert!(why(&path).contains("nothing listens"), "{}", why(&path));
		assert!(!group_of(&path).is_empty());
		assert_eq!(group_of(Path::new("/etc")), "root");
	}
}
