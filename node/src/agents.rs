//! Starts and supervises agents: the processes that prove this machine and check others.
//!
//! A node with `--provider` or `--checker` starts an agent for each role; the node of a development chain
//! starts one for its worker and one for each of its checkers. An agent that ends or hangs is started again,
//! after a growing pause, and the node runs on meanwhile. The node logs once that an agent is down, and once
//! that it is back.
//!
//! The off-chain worker finds the agent of a key in persistent local storage
//! ([`kaisar_primitives::agent::config_key`]). This module keeps the entry up to date: when an agent comes
//! back at another port, and when a key is added to the keystore.
//!
//! An agent's files are under `agents/NAME` in the chain's folder: its key and its token, which only this
//! user can read, and its data. Agents that share a machine find each other through `agents/peers`, all
//! others through the DHT ([`crate::addresses`]).

use crate::{
	addresses::Addresses,
	agent_log::{self, Lines},
	cli::Roles,
	wall_clock,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use codec::{DecodeWithMemTracking, Encode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
	Request, StatusCode,
	body::Bytes,
	header::{AUTHORIZATION, CONNECTION},
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use kaisar_primitives::{
	AgentKey,
	agent::{
		AddressBook, AgentConfig, AgentStatus, CHECKER_PORT, MAX_ANSWER, PATH_ADDRESSES,
		PATH_STATUS, PROVIDER_PORT, config_key, decode_within,
	},
	keys::{CHECKER_KEY_TYPE, WORKER_KEY_TYPE},
};
use sc_service::SpawnTaskHandle;
use sp_core::{
	Pair,
	crypto::KeyTypeId,
	ed25519,
	offchain::{OffchainStorage, STORAGE_PREFIX},
	sr25519,
};
use sp_keystore::{Keystore, KeystorePtr};
use std::{
	collections::BTreeMap,
	fs,
	path::{Path, PathBuf},
	process::Stdio,
	time::Duration,
};
use tokio::{
	io::{AsyncBufReadExt, AsyncReadExt, BufReader},
	process::{Child, Command},
	sync::watch,
	time::{Instant, timeout},
};

/// Log target.
const LOG_TARGET: &str = "agents";
/// Name of the agent's executable.
const BINARY: &str = "kaisar-agent";
/// Timeout of an agent's start, until it reports that it is ready.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Interval between looks for new keys in the keystore.
const REFRESH: Duration = Duration::from_secs(3);
/// Interval between exchanges of addresses with an agent.
const EXCHANGE: Duration = Duration::from_secs(1);
/// The same interval while the agent looks for another whose record is unknown.
const EXCHANGE_SOON: Duration = Duration::from_millis(250);
/// Interval between health checks of an agent.
const HEALTH: Duration = Duration::from_secs(15);
/// Timeout of a health check.
const HEALTH_LIMIT: Duration = Duration::from_secs(10);
/// Timeout of an exchange of addresses.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(3);
/// Interval between reports of suppressed log lines.
const FLUSH: Duration = Duration::from_secs(60);
/// Number of health checks in a row that an agent fails before it is started again.
const STRIKES: u32 = 4;
/// Pause before an agent is started again: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// An agent that this node supervises.
#[derive(Debug)]
pub struct ManagedAgent {
	/// Name of the agent.
	name: &'static str,
	/// Keys that it serves.
	keys: Keys,
	/// Origin of its process.
	source: ProcessSource,
}

/// Keys in the keystore.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Keys {
	/// All keys of a type.
	All(KeyTypeId),
	/// One key.
	One(sr25519::Public),
}

/// Origin of an agent's process.
#[derive(Debug)]
enum ProcessSource {
	/// The node starts it.
	Spawn {
		/// Executable of the agent.
		binary: PathBuf,
		/// Folder of the agent.
		folder: PathBuf,
		/// Folder in which agents of this machine publish their addresses.
		peers: PathBuf,
		/// Further arguments.
		arguments: Vec<String>,
	},
	/// The agent runs already.
	External(AgentConfig),
}

/// Seconds after which a checker's agent of a development chain gives up on a worker: less than a phase,
/// which is ten blocks of a second.
const DEVELOPMENT_PATIENCE: u32 = 5;

/// Agents of a development chain: name, type and secret of the key that it serves, secret of its own key.
const DEVELOPMENT: [(&str, KeyTypeId, &str, &str); 4] = [
	(
		"provider",
		WORKER_KEY_TYPE,
		"//Provider//worker",
		"//Provider//agent",
	),
	(
		"checker1",
		CHECKER_KEY_TYPE,
		"//Checker1//key",
		"//Checker1//agent",
	),
	(
		"checker2",
		CHECKER_KEY_TYPE,
		"//Checker2//key",
		"//Checker2//agent",
	),
	(
		"checker3",
		CHECKER_KEY_TYPE,
		"//Checker3//key",
		"//Checker3//agent",
	),
];

/// Returns the agents that this node supervises, and creates their folders and keys. On a development chain
/// it also puts the keys that they serve into the keystore.
pub fn managed_agents(
	roles: &Roles,
	development: bool,
	folder: &Path,
	keystore: &KeystorePtr,
) -> Result<Vec<ManagedAgent>> {
	if roles.no_agents || !(development || roles.provider || roles.checker) {
		return Ok(Vec::new());
	}
	let peers = folder.join("peers");
	let external = match (&roles.agent_url, &roles.agent_token_file) {
		(Some(url), Some(file)) => {
			address(url)?;
			let token = fs::read_to_string(file).with_context(|| {
				format!(
					"cannot read the agent's token from --agent-token-file {}",
					file.display()
				)
			})?;
			Some(AgentConfig {
				url: url.clone(),
				token: token.trim().into(),
			})
		}
		_ => None,
	};
	let source = |name: &str, secret: Option<&str>| -> Result<ProcessSource> {
		if let Some(config) = &external {
			return Ok(ProcessSource::External(config.clone()));
		}
		let folder = folder.join(name);
		private_folder(&folder)?;
		private_folder(&peers)?;
		let key = key(&folder.join("key"), secret)?;
		log::info!(target: LOG_TARGET, "The agent {name} has the key 0x{}", hex::encode(key.public()));
		let mut arguments = match (development, name) {
			// Four agents share the machine, and nobody outside needs them.
			(true, _) => vec![
				format!("--patience={DEVELOPMENT_PATIENCE}"),
				"--port=0".into(),
				"--no-port-mapping".into(),
			],
			(false, "checker") => vec![format!("--port={CHECKER_PORT}")],
			(false, _) => vec![format!("--port={PROVIDER_PORT}")],
		};
		let (is_provider, own) = match name {
			"provider" => (true, &roles.provider_agent_arg),
			_ => (false, &roles.checker_agent_arg),
		};
		if !is_provider {
			// A checker's agent deploys no containers.
			arguments.push("--no-engine".into());
		}
		// Of an option that is given twice, the last one counts.
		arguments.extend(roles.agent_arg.iter().chain(own).cloned());
		Ok(ProcessSource::Spawn {
			binary: binary(roles)?,
			folder,
			peers: peers.clone(),
			arguments,
		})
	};

	if development {
		return DEVELOPMENT
			.iter()
			.map(|(name, kind, secret, agent)| {
				let pair = sr25519::Pair::from_string(secret, None)
					.map_err(|error| anyhow!("{secret} is not a secret key: {error:?}"))?;
				keystore
					.insert(*kind, secret, pair.public().as_ref())
					.map_err(|()| {
						anyhow!(
							"the keystore refuses {secret}; check that its folder can be written"
						)
					})?;
				Ok(ManagedAgent {
					name,
					keys: Keys::One(pair.public()),
					source: source(name, Some(agent))?,
				})
			})
			.collect();
	}
	let mut managed_agents = Vec::new();
	for (wanted, name, kind) in [
		(roles.provider, "provider", WORKER_KEY_TYPE),
		(roles.checker, "checker", CHECKER_KEY_TYPE),
	] {
		if wanted {
			managed_agents.push(ManagedAgent {
				name,
				keys: Keys::All(kind),
				source: source(name, None)?,
			});
		}
	}
	Ok(managed_agents)
}

/// Supervises the agents as long as the node runs.
pub fn spawn<Storage>(
	managed_agents: Vec<ManagedAgent>,
	storage: Storage,
	keystore: KeystorePtr,
	addresses: &Addresses,
	handle: &SpawnTaskHandle,
) where
	Storage: OffchainStorage + 'static,
{
	for managed in managed_agents {
		let supervisor = Supervisor {
			managed,
			addresses: addresses.clone(),
			agent: None,
			writer: ConfigWriter {
				storage: storage.clone(),
				keystore: keystore.clone(),
				written: BTreeMap::new(),
			},
			down: false,
			known: false,
			clock: wall_clock::AgentClock::default(),
		};
		handle.spawn("agent", Some("agents"), supervisor.run());
	}
}

/// Writer of the agents' entries for the off-chain worker.
struct ConfigWriter<Storage> {
	storage: Storage,
	keystore: KeystorePtr,
	written: BTreeMap<sr25519::Public, AgentConfig>,
}

impl<Storage: OffchainStorage> ConfigWriter<Storage> {
	/// Writes `config` for each key, unless it is there already.
	fn write(&mut self, keys: &Keys, config: &AgentConfig) {
		let keys = match keys {
			Keys::One(key) => vec![*key],
			Keys::All(kind) => self.keystore.sr25519_public_keys(*kind),
		};
		for key in keys {
			if self.written.get(&key) != Some(config) {
				self.storage
					.set(STORAGE_PREFIX, &config_key(key.as_ref()), &config.encode());
				self.written.insert(key, config.clone());
			}
		}
	}
}

/// Supervisor of one agent.
struct Supervisor<Storage> {
	managed: ManagedAgent,
	addresses: Addresses,
	/// Key of the agent, once it has reported it.
	agent: Option<AgentKey>,
	writer: ConfigWriter<Storage>,
	down: bool,
	known: bool,
	/// Comparison with the agent's clock.
	clock: wall_clock::AgentClock,
}

impl<Storage: OffchainStorage> Supervisor<Storage> {
	/// Logs, once, that the agent is down.
	fn report_down(&mut self, why: &anyhow::Error) {
		if !self.down {
			log::warn!(target: LOG_TARGET, "The agent {} is down: {why:#}; trying again", self.managed.name);
		}
		self.down = true;
	}

	/// Logs, once, that the agent is ready, or back.
	fn report_up(&mut self, url: &str) {
		if self.down {
			log::info!(target: LOG_TARGET, "The agent {} is back at {url}", self.managed.name);
		} else if !self.known {
			log::info!(target: LOG_TARGET, "The agent {} is ready at {url}", self.managed.name);
		}
		self.down = false;
		self.known = true;
	}

	async fn run(mut self) {
		let mut pause = BACK_OFF.0;
		loop {
			let begun = Instant::now();
			if let Err(why) = self.run_once().await {
				self.report_down(&why);
			}
			if begun.elapsed() > BACK_OFF.1 {
				pause = BACK_OFF.0;
			}
			tokio::time::sleep(pause).await;
			pause = (pause * 2).min(BACK_OFF.1);
		}
	}

	/// Sends the agent the records that were found for it, and receives its own.
	async fn exchange(&mut self, config: &AgentConfig) -> Result<()> {
		let parcel = self.agent.map(|agent| self.addresses.found_for(&agent));
		let found = match &parcel {
			Some(parcel) => parcel.found.clone(),
			None => self.addresses.hello(),
		};
		let book: AddressBook = ask(config, PATH_ADDRESSES, &found).await?;
		if let Some(parcel) = &parcel {
			self.addresses.mark_received(parcel);
		}
		self.agent = Some(book.agent);
		self.addresses.take_report(book);
		Ok(())
	}

	/// Waits until the next exchange of addresses is due: for an interval, or until a record is found for
	/// the agent.
	async fn exchange_due(&self, news: &mut watch::Receiver<u64>) {
		let Some(agent) = self.agent else {
			return tokio::time::sleep(EXCHANGE).await;
		};
		let pause = match self.addresses.misses_for(&agent) {
			true => EXCHANGE_SOON,
			false => EXCHANGE,
		};
		let found = async {
			while !self.addresses.has_for(&agent) {
				// The channel never closes: `addresses` holds the sender.
				let _ = news.changed().await;
			}
		};
		let _ = timeout(pause, found).await;
	}

	/// Runs the agent once: from its start until it ends or stops answering.
	async fn run_once(&mut self) -> Result<()> {
		// The agent's standard input is held here, since `Child::wait` would close the child's own.
		let (config, mut child, _stdin) = match &self.managed.source {
			ProcessSource::External(config) => (config.clone(), None, None),
			ProcessSource::Spawn {
				binary,
				folder,
				peers,
				arguments,
			} => {
				let (config, mut child) =
					start(self.managed.name, binary, folder, peers, arguments).await?;
				let stdin = child.stdin.take();
				(config, Some(child), stdin)
			}
		};
		if child.is_some() {
			self.report_up(&config.url);
		}
		let mut news = self.addresses.news();
		let mut refreshed: Option<Instant> = None;
		let mut exchanged = false;
		let mut asked: Option<Instant> = None;
		let mut strikes = 0;
		loop {
			let ended = async {
				match &mut child {
					Some(child) => child.wait().await,
					None => std::future::pending().await,
				}
			};
			let due = async {
				match refreshed {
					None => (),
					Some(_) if exchanged => self.exchange_due(&mut news).await,
					Some(_) => tokio::time::sleep(EXCHANGE).await,
				}
			};
			tokio::select! {
				status = ended => bail!("its process ended, {}", status?),
				() = due => {},
			}
			if refreshed.is_none_or(|at| at.elapsed() >= REFRESH) {
				self.writer.write(&self.managed.keys, &config);
				refreshed = Some(Instant::now());
			}
			let exchange = timeout(EXCHANGE_LIMIT, self.exchange(&config)).await;
			exchanged = matches!(exchange, Ok(Ok(())));
			if let Ok(Err(why)) = exchange {
				log::debug!(target: LOG_TARGET, "{}: no exchange of addresses: {why:#}", self.managed.name);
			}
			if asked.is_some_and(|asked| asked.elapsed() < HEALTH) {
				continue;
			}
			match timeout(HEALTH_LIMIT, status(&config)).await {
				Ok(Ok(status)) => {
					strikes = 0;
					self.clock.compare(self.managed.name, status.clock_ms);
					self.report_up(&config.url);
				}
				answer => {
					strikes += 1;
					let why = match answer {
						Ok(Err(why)) => why,
						_ => anyhow!("it does not answer within {} s", HEALTH_LIMIT.as_secs()),
					};
					self.report_down(&why);
					// The node ends only agents that it started.
					if child.is_some() && strikes >= STRIKES {
						return Err(why);
					}
				}
			}
			asked = Some(Instant::now());
		}
	}
}

/// Starts an agent and waits until it is ready.
async fn start(
	name: &'static str,
	binary: &Path,
	folder: &Path,
	peers: &Path,
	arguments: &[String],
) -> Result<(AgentConfig, Child)> {
	let token = hex::encode(rand::random::<[u8; 32]>());
	let token_file = folder.join("token");
	private_file(&token_file, &token)?;
	let mut child = Command::new(binary)
		.arg("run")
		.args(["--listen", "127.0.0.1:0"])
		.arg("--token-file")
		.arg(&token_file)
		.arg("--key-file")
		.arg(folder.join("key"))
		.arg("--peers-dir")
		.arg(peers)
		.arg("--data-dir")
		.arg(folder.join("data"))
		.arg("--exit-on-stdin-close")
		.args(arguments)
		// Held open: the agent ends when it closes, even if the node is killed.
		.stdin(Stdio::piped())
		.stdout(Stdio::piped())
		.stderr(Stdio::piped())
		.kill_on_drop(true)
		.spawn()
		.with_context(|| format!("cannot start {}", binary.display()))?;
	let stdout = child
		.stdout
		.take()
		.context("its standard output is not piped")?;
	let stderr = child
		.stderr
		.take()
		.context("its standard error is not piped")?;
	tokio::spawn(drain(name, BufReader::new(stderr)));
	let mut stdout = BufReader::new(stdout);
	let ready = async {
		let mut line = Vec::new();
		loop {
			line.clear();
			let read = (&mut stdout)
				.take(MAX_ANSWER as u64)
				.read_until(b'\n', &mut line)
				.await?;
			if read == 0 {
				// `wait` closes its input. That does no harm: it has closed its output.
				let status = child.wait().await?;
				bail!("its process ended before it was ready, {status}");
			}
			if let Some(url) = ready_url(&line) {
				return Ok(url);
			}
		}
	};
	let url = timeout(START_LIMIT, ready)
		.await
		.with_context(|| format!("it was not ready within {} s", START_LIMIT.as_secs()))??;
	address(&url)?;
	tokio::spawn(drain(name, stdout));
	Ok((AgentConfig { url, token }, child))
}

/// Returns the URL in the line with which an agent reports that it is ready.
fn ready_url(line: &[u8]) -> Option<String> {
	let line: serde_json::Value = serde_json::from_slice(line).ok()?;
	line.get("ready")?.get("url")?.as_str().map(Into::into)
}

/// Passes an agent's log on to the node's, so that the agent never waits for a reader and its warnings are
/// seen.
async fn drain(name: &'static str, mut from: impl tokio::io::AsyncBufRead + Unpin) {
	let mut lines = Lines::new();
	let log = |all: Vec<agent_log::Line>| {
		for (level, text) in all {
			log::log!(target: LOG_TARGET, level, "{name}: {text}");
		}
	};
	let mut ticker = tokio::time::interval(FLUSH);
	let mut line = Vec::new();
	loop {
		let mut limited = (&mut from).take((MAX_ANSWER - line.len()) as u64);
		// If the ticker cancels the read, `line` keeps the bytes read so far.
		let read = tokio::select! {
			read = limited.read_until(b'\n', &mut line) => read,
			_ = ticker.tick() => {
				log(lines.due(Instant::now()));
				continue;
			}
		};
		if read.is_err() || line.is_empty() {
			log(lines.end());
			return;
		}
		log(lines.take(&String::from_utf8_lossy(&line), Instant::now()));
		line.clear();
	}
}

/// Returns the host and port in an agent's URL.
fn address(url: &str) -> Result<&str> {
	let address = url
		.strip_prefix("http://")
		.map(|rest| rest.trim_end_matches('/'));
	match address {
		Some(address) if address.contains(':') && !address.contains('/') => Ok(address),
		_ => bail!("`{url}` is not an agent's URL; expected http://HOST:PORT"),
	}
}

/// Asks an agent for its status.
async fn status(config: &AgentConfig) -> Result<AgentStatus> {
	ask(config, PATH_STATUS, &()).await
}

/// Sends a request to an agent and returns the answer. Each request has a connection of its own.
async fn ask<T: DecodeWithMemTracking>(
	config: &AgentConfig,
	path: &str,
	request: &impl Encode,
) -> Result<T> {
	let host = address(&config.url)?;
	let request = Request::post(format!("http://{host}{path}"))
		.header(AUTHORIZATION, format!("Bearer {}", config.token))
		.header(CONNECTION, "close")
		.body(Full::<Bytes>::from(request.encode()))?;
	let client = Client::builder(TokioExecutor::new()).build_http();
	let answer = client.request(request).await?;
	ensure!(
		answer.status() == StatusCode::OK,
		"it answers with HTTP status {}",
		answer.status()
	);
	let body = Limited::new(answer.into_body(), 2 * MAX_ANSWER)
		.collect()
		.await
		.map_err(|error| anyhow!("its answer to {path} was cut off: {error}"))?;
	decode_within(&body.to_bytes(), 2 * MAX_ANSWER).with_context(|| {
		format!("cannot decode its answer to {path}; is the agent of another version?")
	})
}

/// Returns the path of the agent's executable.
fn binary(roles: &Roles) -> Result<PathBuf> {
	let binary = match &roles.agent_bin {
		Some(binary) => binary.clone(),
		None => std::env::current_exe()?.with_file_name(BINARY),
	};
	ensure!(
		binary.is_file(),
		"no agent at {}: build it (`cargo build -p {BINARY}`), name another with --agent-bin or --agent-url, \
		 or start none with --no-agents",
		binary.display(),
	);
	Ok(binary)
}

/// Creates a folder that only this user can read.
fn private_folder(path: &Path) -> Result<()> {
	use std::os::unix::fs::DirBuilderExt;
	fs::DirBuilder::new()
		.recursive(true)
		.mode(0o700)
		.create(path)
		.with_context(|| format!("cannot create the folder {}", path.display()))
}

/// Writes a file that only this user can read. A file is written whole or not at all.
fn private_file(path: &Path, contents: &str) -> Result<()> {
	kaisar_fs::write_atomic(path, contents.as_bytes(), kaisar_fs::OWNER_ONLY)
		.with_context(|| format!("cannot write {}", path.display()))
}

/// Returns an agent's key: the one in the file, or if the file does not exist, that of `secret` or a new
/// one.
fn key(path: &Path, secret: Option<&str>) -> Result<ed25519::Pair> {
	if path.exists() {
		let text = fs::read_to_string(path)
			.with_context(|| format!("cannot read the agent's key in {}", path.display()))?;
		let text = text.trim();
		let seed = hex::decode(text.strip_prefix("0x").unwrap_or(text))
			.with_context(|| format!("the key in {} is not hexadecimal", path.display()))?;
		return ed25519::Pair::from_seed_slice(&seed)
			.map_err(|_| anyhow!("the key in {} does not have 32 bytes", path.display()));
	}
	let pair = match secret {
		Some(secret) => ed25519::Pair::from_string(secret, None)
			.map_err(|error| anyhow!("{secret} is not a secret key: {error:?}"))?,
		None => ed25519::Pair::from_seed(&rand::random()),
	};
	private_file(path, &hex::encode(pair.seed()))?;
	Ok(pair)
}

#[cfg(test)]
mod tests {
	use super::*;
	use codec::Decode;
	use sp_core::offchain::storage::InMemOffchainStorage;
	use sp_keystore::testing::MemoryKeystore;
	use std::{
		os::unix::fs::PermissionsExt,
		sync::{Arc, Mutex},
	};
	use tokio::{io::AsyncWriteExt, net::TcpListener};

	/// Local storage that a test reads while the supervisor writes.
	#[derive(Clone, Default)]
	struct Shared(Arc<Mutex<InMemOffchainStorage>>);

	impl OffchainStorage for Shared {
		fn set(&mut self, prefix: &[u8], key: &[u8], value: &[u8]) {
			self.0
				.lock()
				.expect("no test panicked")
				.set(prefix, key, value)
		}
		fn remove(&mut self, prefix: &[u8], key: &[u8]) {
			self.0.lock().expect("no test panicked").remove(prefix, key)
		}
		fn get(&self, prefix: &[u8], key: &[u8]) -> Option<Vec<u8>> {
			self.0.lock().expect("no test panicked").get(prefix, key)
		}
		fn compare_and_set(
			&mut self,
			prefix: &[u8],
			key: &[u8],
			old: Option<&[u8]>,
			new: &[u8],
		) -> bool {
			self.0
				.lock()
				.expect("no test panicked")
				.compare_and_set(prefix, key, old, new)
		}
	}

	impl Shared {
		fn config(&self, key: &sr25519::Public) -> Option<AgentConfig> {
			let value = self.get(STORAGE_PREFIX, &config_key(key.as_ref()))?;
			Some(AgentConfig::decode(&mut &value[..]).expect("the entry decodes"))
		}

		/// Waits until a key's configuration fulfills a condition.
		async fn until(&self, key: &sr25519::Public, wanted: impl Fn(&AgentConfig) -> bool) {
			while !self.config(key).is_some_and(|config| wanted(&config)) {
				tokio::time::sleep(Duration::from_millis(20)).await;
			}
		}
	}

	fn mode(path: &Path) -> u32 {
		fs::metadata(path)
			.expect("the path exists")
			.permissions()
			.mode() & 0o777
	}

	/// A chain that knows no agent.
	struct NoChain;

	impl crate::addresses::ChainReader for NoChain {
		fn knows(&self, _: &AgentKey) -> bool {
			false
		}

		fn time_ms(&self) -> u64 {
			0
		}
	}

	fn supervisor(
		managed: ManagedAgent,
		storage: &Shared,
		keystore: &KeystorePtr,
	) -> Supervisor<Shared> {
		let writer = ConfigWriter {
			storage: storage.clone(),
			keystore: keystore.clone(),
			written: BTreeMap::new(),
		};
		Supervisor {
			managed,
			addresses: Addresses::new(std::sync::Arc::new(NoChain)),
			agent: None,
			writer,
			down: false,
			known: false,
			clock: wall_clock::AgentClock::default(),
		}
	}

	/// Writes an executable that reports to be ready at `http://127.0.0.1:(1000 + n)` at its n-th start, and
	/// ends.
	fn mortal(folder: &Path) -> PathBuf {
		let binary = folder.join("mortal");
		let script = "#!/bin/sh\n\
			cd \"$(dirname \"$0\")\"\n\
			echo x >> lives\n\
			echo not for you\n\
			n=$((1000 + $(wc -l < lives)))\n\
			echo '{\"ready\":{\"url\":\"http://127.0.0.1:'$n'\"}}'\n\
			sleep 1\n";
		fs::write(&binary, script).expect("the script can be written");
		fs::set_permissions(&binary, fs::Permissions::from_mode(0o700))
			.expect("the mode can be set");
		binary
	}

	/// Lines that the node logs in these tests.
	static LOGGED: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

	struct Logged;

	impl log::Log for Logged {
		fn enabled(&self, metadata: &log::Metadata) -> bool {
			metadata.target() == LOG_TARGET
		}
		fn log(&self, record: &log::Record) {
			if self.enabled(record.metadata()) {
				let line = (record.level(), record.args().to_string());
				LOGGED.lock().expect("no test panicked").push(line);
			}
		}
		fn flush(&self) {}
	}

	#[tokio::test]
	async fn what_an_agent_warns_of_is_a_warning_of_the_node() {
		log::set_logger(&Logged).expect("no other test logs");
		log::set_max_level(log::LevelFilter::Trace);
		let folder = tempfile::tempdir().expect("a temporary folder can be created");
		let binary = mortal(folder.path());
		let script = fs::read_to_string(&binary).expect("the script can be read");
		// Lines as `tracing_subscriber` prints them; one comes ten times.
		let said = "for n in 1 2 3 4 5 6 7 8 9 10; do\n\
			echo \"2026-11-27T07:00:0$n.000000Z  WARN kaisar_agent::gpu: a GPU cannot be used\" >&2\n\
			done\n\
			echo '2026-11-27T07:00:00.000000Z DEBUG kaisar_agent::gpu: for who asks' >&2\n\
			echo '2026-11-27T07:00:00.000000Z ERROR kaisar_agent::gpu: it is lost' >&2\n\
			sleep 1\n";
		fs::write(&binary, script.replace("sleep 1\n", said)).expect("the script can be written");
		let keystore: KeystorePtr = Arc::new(MemoryKeystore::new());
		let roles = Roles {
			checker: true,
			agent_bin: Some(binary),
			..Default::default()
		};
		let managed = managed_agents(&roles, false, folder.path(), &keystore)
			.expect("the agents can be set up")
			.remove(0);
		let task = tokio::spawn(supervisor(managed, &Shared::default(), &keystore).run());
		let lines = || LOGGED.lock().expect("no test panicked").clone();
		let lost = (log::Level::Error, String::from("checker: it is lost"));
		timeout(Duration::from_secs(30), async {
			while !lines().contains(&lost) {
				tokio::time::sleep(Duration::from_millis(20)).await;
			}
		})
		.await
		.expect("the line is passed on");
		task.abort();
		let of = |part: &str| -> Vec<log::Level> {
			let lines = lines();
			let found = lines.iter().filter(|(_, text)| text.contains(part));
			found.map(|(level, _)| *level).collect()
		};
		assert_eq!(
			of("checker: a GPU cannot be used"),
			[log::Level::Warn],
			"once"
		);
		assert_eq!(of("checker: for who asks"), [log::Level::Debug]);
	}

	#[test]
	fn keys_and_tokens_are_private_and_stay() {
		let folder = tempfile::tempdir().expect("a temporary folder can be created");
		let path = folder.path().join("key");
		let pair = key(&path, Some("//Provider//agent")).expect("the key can be created");
		assert_eq!(mode(&path), 0o600);
		assert_eq!(
			hex::encode(pair.public()),
			"1021f3639ce50a2ad6d6136ca1b25875c13a3058cd73e516b9e984fe76c4628b"
		);
		// The key in the file counts, whatever secret is given later.
		assert_eq!(
			key(&path, None).expect("the key can be read").public(),
			pair.public()
		);

		let other = folder.path().join("other");
		let new = key(&other, None).expect("the key can be created").public();
		assert_ne!(new, pair.public());
		assert_eq!(
			key(&other, None).expect("the key can be read").public(),
			new
		);

		fs::write(&other, "0x12").expect("the file can be written");
		assert!(key(&other, None).is_err());
		fs::write(&other, "no key").expect("the file can be written");
		assert!(key(&other, None).is_err());

		let private = folder.path().join("a/b");
		private_folder(&private).expect("the folder can be created");
		assert_eq!(mode(&private), 0o700);
	}

	#[test]
	fn addresses_are_of_one_form() {
		assert_eq!(
			address("http://127.0.0.1:9700").expect("the URL is valid"),
			"127.0.0.1:9700"
		);
		assert_eq!(
			address("http://127.0.0.1:9700/").expect("the URL is valid"),
			"127.0.0.1:9700"
		);
		for wrong in [
			"127.0.0.1:1",
			"https://127.0.0.1:1",
			"http://host",
			"http://h:1/path",
			"",
		] {
			assert!(address(wrong).is_err(), "{wrong}");
		}
	}

	#[test]
	fn only_the_ready_line_says_ready() {
		assert_eq!(
			ready_url(br#"{"ready":{"url":"http://127.0.0.1:1","agent":"0x00","addrs":[]}}"#),
			Some("http://127.0.0.1:1".into())
		);
		for other in [
			&b"starting"[..],
			b"{}",
			br#"{"ready":1}"#,
			br#"{"url":"x"}"#,
			b"\xff",
		] {
			assert_eq!(ready_url(other), None);
		}
	}

	#[test]
	fn no_role_no_agent() {
		let keystore: KeystorePtr = Arc::new(MemoryKeystore::new());
		let folder = tempfile::tempdir().expect("a temporary folder can be created");
		let none = managed_agents(&Roles::default(), false, folder.path(), &keystore);
		assert!(
			none.expect("a node without roles needs no agent")
				.is_empty()
		);
		let roles = Roles {
			no_agents: true,
			provider: true,
			..Default::default()
		};
		assert!(
			managed_agents(&roles, true, folder.path(), &keystore)
				.expect("fine")
				.is_empty()
		);
		assert!(keystore.sr25519_public_keys(WORKER_KEY_TYPE).is_empty());
		assert_eq!(
			fs::read_dir(folder.path())
				.expect("the folder can be read")
				.count(),
			0
		);
	}

	#[test]
	fn fails_when_there_is_no_agent_to_start() {
		let keystore: KeystorePtr = Arc::new(MemoryKeystore::new());
		let folder = tempfile::tempdir().expect("a temporary folder can be created");
		let roles = Roles {
			provider: true,
			agent_bin: Some(folder.path().join("none")),
			..Default::default()
		};
		let error = managed_agents(&roles, false, folder.path(), &keystore)
			.expect_err("the executable does not exist");
		assert!(error.to_string().contains("--agent-bin"), "{error}");
	}

	#[test]
	fn each_agent_has_its_own_arguments() {
		let keystore: KeystorePtr = Arc::new(MemoryKeystore::new());
		let folder = tempfile::tempdir().expect("a temporary folder can be created");
		let roles = Roles {
			provider: true,
			checker: true,
			agent_bin: Some(mortal(folder.path())),
			agent_arg: vec!["--both".into()],
			provider_agent_arg: vec!["--port=1".into()],
			checker_agent_arg: vec!["--port=2".into()],
			..Default::default()
		};
		let managed_agents = managed_agents(&roles, false, folder.path(), &keystore)
			.expect("the agents can be set up");
		let arguments: Vec<Vec<String>> = managed_agents
			.into_iter()
			.map(|managed| match managed.source {
				ProcessSource::Spawn { arguments, .. } => arguments,
				ProcessSource::External(_) => panic!("{} is to be started", managed.name),
			})
			.collect();
		// The last --port counts. A checker's agent deploys no containers.
		assert_eq!(
			arguments,
			[
				vec!["--port=30500", "--both", "--port=1"],
				vec!["--port=30501", "--no-engine", "--both", "--port=2"],
			]
		);
	}

	#[test]
	fn development_has_four_agents_and_their_keys() {
		let keystore: KeystorePtr = Arc::new(MemoryKeystore::new());
		let folder = tempfile::tempdir().expect("a temporary folder can be created");
		let roles = Roles {
			agent_bin: Some(mortal(folder.path())),
			..Default::default()
		};
		let managed_agents = managed_agents(&roles, true, folder.path(), &keystore)
			.expect("the agents can be set up");
		let names: Vec<_> = managed_agents.iter().map(|managed| managed.name).collect();
		assert_eq!(names, ["provider", "checker1", "checker2", "checker3"]);
		assert_eq!(keystore.sr25519_public_keys(WORKER_KEY_TYPE).len(), 1);
		for checker in kaisar_runtime::presets::dev::CHECKERS {
			let key = sr25519::Public::from_raw(checker.key);
			assert!(
				keystore
					.sr25519_public_keys(CHECKER_KEY_TYPE)
					.contains(&key)
			);
			assert!(
				managed_agents
					.iter()
					.any(|managed| managed.keys == Keys::One(key))
			);
		}
	}

	#[tokio::test]
	async fn an_agent_that_ends_is_started_again_and_new_keys_find_it() {
		let folder = tempfile::tempdir().expect("a temporary folder can be created");
		let keystore: KeystorePtr = Arc::new(MemoryKeystore::new());
		let insert = |secret: &str| {
			let public = sr25519::Pair::from_string(secret, None)
				.expect("the secret is valid")
				.public();
			keystore
				.insert(WORKER_KEY_TYPE, secret, public.as_ref())
				.expect("the keystore accepts the key");
			public
		};
		let first = insert("//first");
		let roles = Roles {
			provider: true,
			agent_bin: Some(mortal(folder.path())),
			..Default::default()
		};
		let managed = managed_agents(&roles, false, folder.path(), &keystore)
			.expect("the agents can be set up")
			.remove(0);
		let storage = Shared::default();
		let task = tokio::spawn(supervisor(managed, &storage, &keystore).run());
		let story = async {
			storage
				.until(&first, |config| config.url.ends_with(":1001"))
				.await;
			let token = storage.config(&first).expect("the key has an entry").token;
			assert_eq!(token.len(), 64);
			// The token is written nowhere but here and in the private file.
			assert_eq!(mode(&folder.path().join("provider/token")), 0o600);
			let second = insert("//second");
			storage
				.until(&first, |config| config.url.ends_with(":1002"))
				.await;
			storage
				.until(&second, |config| !config.url.ends_with(":1001"))
				.await;
			assert_ne!(
				storage.config(&first).expect("the key has an entry").token,
				token
			);
		};
		timeout(Duration::from_secs(30), story)
			.await
			.expect("the agent is started again");
		task.abort();
	}

	/// Answers one connection with `answer`, and returns the result of `status`.
	async fn answered(answer: Vec<u8>) -> Result<AgentStatus> {
		let listener = TcpListener::bind("127.0.0.1:0")
			.await
			.expect("a port is free");
		let url = format!(
			"http://{}",
			listener.local_addr().expect("the socket is bound")
		);
		let server = tokio::spawn(async move {
			let (mut stream, _) = listener.accept().await.expect("the node connects");
			let mut request = [0; 1_024];
			let read = stream
				.read(&mut request)
				.await
				.expect("the request can be read");
			// The reader may hang up before it has everything.
			let _ = stream.write_all(&answer).await;
			String::from_utf8_lossy(&request[..read]).into_owned()
		});
		let status = status(&AgentConfig {
			url,
			token: "secret".into(),
		})
		.await;
		let request = server.await.expect("no panic");
		assert!(
			request.starts_with("POST /v1/status HTTP/1.1\r\n"),
			"{request}"
		);
		assert!(
			request.contains("authorization: Bearer secret\r\n"),
			"{request}"
		);
		status
	}

	#[tokio::test]
	async fn a_status_is_read_and_anything_else_is_not() {
		let status = AgentStatus {
			version: "1".into(),
			agent: ed25519::Public::from_raw([1; 32]),
			gpus: 0,
			clock_ms: 1,
		};
		let mut good = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
		good.extend(status.encode());
		assert_eq!(
			answered(good).await.expect("the answer is a status"),
			status
		);
		for bad in [
			Vec::new(),
			b"HTTP/1.1 401 Unauthorized\r\n\r\n".to_vec(),
			b"HTTP/1.1 200 OK\r\n\r\n\xff".to_vec(),
			vec![b'x'; 10 * 1_024 * 1_024],
		] {
			assert!(answered(bad).await.is_err());
		}
	}

	#[tokio::test]
	async fn an_agent_elsewhere_is_told_to_the_keys_even_while_it_is_down() {
		let keystore: KeystorePtr = Arc::new(MemoryKeystore::new());
		let pair = sr25519::Pair::from_string("//checker", None).expect("the secret is valid");
		keystore
			.insert(CHECKER_KEY_TYPE, "//checker", pair.public().as_ref())
			.expect("the keystore accepts the key");
		let config = AgentConfig {
			url: "http://127.0.0.1:1".into(),
			token: "token".into(),
		};
		let managed = ManagedAgent {
			name: "checker",
			keys: Keys::All(CHECKER_KEY_TYPE),
			source: ProcessSource::External(config.clone()),
		};
		let storage = Shared::default();
		let task = tokio::spawn(supervisor(managed, &storage, &keystore).run());
		timeout(
			Duration::from_secs(10),
			storage.until(&pair.public(), |written| *written == config),
		)
		.await
		.expect("the key gets an entry");
		task.abort();
	}
}
