//! Client of the container engine: the Docker Engine API over a local socket, of Docker or Podman.

use super::layers::Layers;
use bollard::{
	ClientVersion, Docker,
	errors::Error as ApiError,
	models::{
		ContainerCreateBody, ContainerInspectResponse, ContainerSummary, EventMessage,
		ImageInspect, Network, NetworkCreateRequest, SystemInfo, SystemVersion,
	},
	query_parameters::{
		CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder,
		InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
		RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, StartContainerOptions,
		StopContainerOptionsBuilder,
	},
};
use futures::{Stream, StreamExt, TryFutureExt};
use parking_lot::Mutex;
use std::{
	collections::HashMap,
	future::Future,
	path::{Path, PathBuf},
	time::Duration,
};

/// Versions of the API to try, the newest first: Docker 25 and later, and down to Docker 20.10 and Podman 3.
/// A daemon refuses versions that are too new or too old for it.
const VERSIONS: [ClientVersion; 2] = [
	ClientVersion {
		major_version: 1,
		minor_version: 44,
	},
	ClientVersion {
		major_version: 1,
		minor_version: 41,
	},
];
/// Timeout of a query.
const ASK: Duration = Duration::from_secs(10);
/// Timeout of an action: an engine without copy-on-write copies whole images.
const ACT: Duration = Duration::from_secs(120);
/// Timeout that no engine outlives.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
/// Seconds that a container has to end by itself when it is stopped.
const STOP_SECS: i32 = 5;

/// Reason why a call of the engine failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Fault {
	/// The engine did not answer, or its answer was invalid. The outcome is unknown.
	#[error("the container engine does not answer: {0}")]
	Silent(String),
	/// The engine answered that the object does not exist.
	#[error("{0}")]
	NotFound(String),
	/// The engine refused or failed.
	#[error("{0}")]
	Refused(String),
}

impl From<ApiError> for Fault {
	fn from(error: ApiError) -> Self {
		match error {
			ApiError::DockerResponseServerError {
				status_code: 404,
				message,
			} => Self::NotFound(message),
			ApiError::DockerResponseServerError { message, .. } => Self::Refused(message),
			ApiError::DockerStreamError { error } => Self::Refused(error),
			other => Self::Silent(other.to_string()),
		}
	}
}

/// An engine. Connects at the first call, and again after it went away.
#[derive(Debug)]
pub(super) struct Engine {
	socket: PathBuf,
	client: Mutex<Option<Docker>>,
}

impl Engine {
	pub fn new(socket: &Path) -> Self {
		Self {
			socket: socket.to_owned(),
			client: Mutex::default(),
		}
	}

	pub fn socket(&self) -> &Path {
		&self.socket
	}

	async fn client(&self) -> Result<Docker, Fault> {
		if let Some(client) = self.client.lock().clone() {
			return Ok(client);
		}
		let socket = self.socket.to_string_lossy();
		let mut last = Fault::Silent("it speaks no known version of the Docker API".into());
		for version in VERSIONS {
			let client = Docker::connect_with_unix(&socket, ACT.as_secs(), &version)?;
			match within(ASK, client.version()).await {
				Ok(_) => {
					*self.client.lock() = Some(client.clone());
					return Ok(client);
				}
				// It may accept another version.
				Err(fault @ Fault::Refused(_)) => last = fault,
				Err(fault) => return Err(fault),
			}
		}
		Err(last)
	}

	/// Calls the engine. Forgets the connection if it falls silent, since it may come back as another
	/// version.
	async fn call<T, F>(&self, limit: Duration, call: impl FnOnce(Docker) -> F) -> Result<T, Fault>
	where
		F: Future<Output = Result<T, ApiError>>,
	{
		let client = self.client().await?;
		let result = within(limit, call(client)).await;
		if let Err(Fault::Silent(_)) = result {
			*self.client.lock() = None;
		}
		result
	}

	/// Returns the folder of the engine's data, by the engine's own name for it.
	pub async fn root(&self) -> Result<Option<PathBuf>, Fault> {
		let about = self.call(ASK, async |client| client.info().await).await?;
		Ok(about.docker_root_dir.map(PathBuf::from))
	}

	/// Lists the containers with all of these labels; without labels, all running containers.
	pub async fn list(&self, labels: Option<&[String]>) -> Result<Vec<ContainerSummary>, Fault> {
		let filters: HashMap<&str, Vec<String>> = labels
			.map(|labels| HashMap::from([("label", labels.to_vec())]))
			.unwrap_or_default();
		let options = ListContainersOptionsBuilder::new()
			.all(labels.is_some())
			.filters(&filters)
			.build();
		self.call(ASK, async |client| {
			client.list_containers(Some(options)).await
		})
		.await
	}

	/// Inspects a container; `None` if it does not exist.
	pub async fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>, Fault> {
		let found = self
			.call(ASK, async |client| {
				client
					.inspect_container(id, None::<InspectContainerOptions>)
					.await
			})
			.await;
		found_or_none(found)
	}

	/// Inspects an image; `None` if the engine does not have it.
	pub async fn image(&self, reference: &str) -> Result<Option<ImageInspect>, Fault> {
		let found = self
			.call(ASK, async |client| client.inspect_image(reference).await)
			.await;
		found_or_none(found)
	}

	/// Pulls an image. Reports the progress to `on_progress`, which can cancel the pull with an error.
	pub async fn pull(
		&self,
		reference: &str,
		stalled: Duration,
		mut on_progress: impl FnMut(&Layers) -> Result<(), Fault>,
	) -> Result<(), Fault> {
		let client = self.client().await?;
		let options = CreateImageOptionsBuilder::new()
			.from_image(reference)
			.build();
		let mut stream = client.create_image(Some(options), None, None);
		let mut layers = Layers::default();
		loop {
			let next = tokio::time::timeout(stalled, stream.next()).await;
			match next {
				Ok(Some(Ok(info))) => layers.note(info),
				Ok(Some(Err(error))) => return Err(error.into()),
				Ok(None) => return Ok(()),
				Err(_) => {
					return Err(Fault::Refused(format!(
						"the registry sent nothing for {} s",
						stalled.as_secs()
					)));
				}
			}
			on_progress(&layers)?;
		}
	}

	/// Creates a container and returns its id.
	pub async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String, Fault> {
		let options = CreateContainerOptionsBuilder::new().name(name).build();
		self.call(ACT, async |client| {
			client
				.create_container(Some(options), body)
				.await
				.map(|made| made.id)
		})
		.await
	}

	pub async fn start(&self, id: &str) -> Result<(), Fault> {
		self.call(ACT, async |client| {
			client
				.start_container(id, None::<StartContainerOptions>)
				.await
		})
		.await
	}

	pub async fn unpause(&self, id: &str) -> Result<(), Fault> {
		self.call(ACT, async |client| client.unpause_container(id).await)
			.await
	}

	/// Stops a container. Kills it if it does not end by itself.
	pub async fn stop(&self, id: &str) -> Result<(), Fault> {
		let options = StopContainerOptionsBuilder::new().t(STOP_SECS).build();
		self.call(ACT, async |client| {
			client.stop_container(id, Some(options)).await
		})
		.await
	}

	/// Stops and removes a container with all its data. A missing container is not an error.
	pub async fn remove(&self, id: &str) -> Result<(), Fault> {
		let options = RemoveContainerOptionsBuilder::new()
			.force(true)
			.v(true)
			.build();
		match self.stop(id).await {
			// A container that cannot be stopped is removed by force.
			Ok(()) | Err(Fault::Refused(_)) => (),
			Err(Fault::NotFound(_)) => return Ok(()),
			Err(fault) => return Err(fault),
		}
		let removed = self
			.call(ACT, async |client| {
				client.remove_container(id, Some(options)).await
			})
			.await;
		found_or_none(removed).map(|_| ())
	}

	/// Removes an image that nothing uses.
	pub async fn remove_image(&self, reference: &str) -> Result<(), Fault> {
		let options = RemoveImageOptionsBuilder::new().build();
		let removed = self
			.call(ACT, async |client| {
				client.remove_image(reference, Some(options), None).await
			})
			.await;
		found_or_none(removed).map(|_| ())
	}

	/// Returns the engine's version and its settings.
	pub async fn about(&self) -> Result<(SystemVersion, SystemInfo), Fault> {
		let version = self
			.call(ASK, async |client| client.version().await)
			.await?;
		let info = self.call(ASK, async |client| client.info().await).await?;
		Ok((version, info))
	}

	/// Lists the networks with a label; without a label, all networks.
	pub async fn networks(&self, label: Option<String>) -> Result<Vec<Network>, Fault> {
		let filters: HashMap<&str, Vec<String>> = label
			.map(|label| HashMap::from([("label", vec![label])]))
			.unwrap_or_default();
		let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
		self.call(ASK, async |client| {
			client.list_networks(Some(options)).await
		})
		.await
	}

	pub async fn create_network(&self, request: NetworkCreateRequest) -> Result<(), Fault> {
		self.call(ACT, async |client| client.create_network(request).await)
			.await
			.map(|_| ())
	}

	/// Removes a network. A missing network is not an error.
	pub async fn remove_network(&self, name: &str) -> Result<(), Fault> {
		let removed = self
			.call(ACT, async |client| client.remove_network(name).await)
			.await;
		found_or_none(removed).map(|_| ())
	}

	/// Subscribes to events of containers with a label, from now on.
	pub async fn events(
		&self,
		label: &str,
	) -> Result<impl Stream<Item = Result<EventMessage, Fault>> + use<>, Fault> {
		// The answer begins with the first event, however long that takes.
		let client = self.client().await?.with_timeout(FOREVER);
		let filters = HashMap::from([("type", vec!["container"]), ("label", vec![label])]);
		let options = EventsOptionsBuilder::new().filters(&filters).build();
		Ok(client
			.events(Some(options))
			.map(|event| event.map_err(Fault::from)))
	}
}

/// Converts the fault of a missing object into `None`.
fn found_or_none<T>(result: Result<T, Fault>) -> Result<Option<T>, Fault> {
	match result {
		Ok(value) => Ok(Some(value)),
		Err(Fault::NotFound(_)) => Ok(None),
		Err(fault) => Err(fault),
	}
}

async fn within<T>(
	limit: Duration,
	call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, Fault> {
	tokio::time::timeout(limit, call.map_err(Fault::from))
		.await
		.unwrap_or_else(|_| Err(Fault::Silent(format!("waited for {} s", limit.as_secs()))))
}

#[cfg(test)]
mod tests {
	use super::*;

	#[tokio::test]
	async fn an_engine_that_is_not_there_is_silent() {
		let engine = Engine::new(Path::new("/nowhere/engine.sock"));
		assert!(matches!(engine.inspect("x").await, Err(Fault::Silent(_))));
		assert!(matches!(engine.list(None).await, Err(Fault::Silent(_))));
	}
}
