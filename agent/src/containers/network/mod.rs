//! A network of its own for each order, with no way to the provider's network.
//!
//! A container reaches the public Internet over IPv4 and nothing more: not the provider's network, the
//! machine, other containers, or a cloud's metadata. The engine makes a bridge for each order, on which no
//! other container is. A firewall table of the agent's ([`rules`]) drops what leaves these bridges for an
//! address that is not public ([`ranges`]), and what comes to them from outside. The agent reaches the
//! container at the port that the engine publishes on the loopback address: those connections begin on this
//! machine, so their answers pass.
//!
//! The table needs a firewall of the kernel's that the agent may change. Without it the agent serves no
//! orders, unless its settings allow containers into the provider's network ([`decide`]).

mod nft;
mod podman;
mod ranges;
mod rules;

use super::{
	engine::{Engine, Fault},
	state::{
		Key, LABEL_AGENT, LABEL_GENESIS, LABEL_ORDER, LABEL_WORKER, Settings, SupervisorState,
		labels_of,
	},
	versions::{self, Make, Version},
};
use crate::trial::hash::key as hash;
use bollard::models::{HostConfig, Network, NetworkCreateRequest};
use codec::Encode;
use kaisar_primitives::OrderId;
use nft::Obstacle;
use ranges::{Range, near};
use rules::{Table, bridge_prefix, table_name};
use std::{collections::HashMap, fs, net::Ipv4Addr, sync::Arc};
use tokio::sync::Mutex;

/// Resolvers of containers that cannot reach the provider's: Cloudflare's and Quad9's.
const PUBLIC_RESOLVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(9, 9, 9, 9)];

/// Network of an order's container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Plan {
	/// A network of the engine's, by name.
	Named(String),
	/// A network of its own.
	Own {
		/// The agent's table keeps the container on the public Internet.
		filtered: bool,
	},
}

/// Properties of the engine and the agent on which the plan depends.
#[derive(Clone, Copy, Debug)]
struct Facts {
	make: Make,
	version: Option<Version>,
	rootless: bool,
	firewall: Result<(), Obstacle>,
}

/// Decides which network containers get. The error is the reason why the machine cannot be rented out, and
/// the remedy.
fn decide(settings: &Settings, facts: &Facts) -> Result<Plan, String> {
	if !settings.allow_old_engine
		&& let Some(why) = facts.make.refusal(facts.version)
	{
		return Err(why);
	}
	if settings.allow_lan {
		return Ok(match &settings.network {
			Some(name) => Plan::Named(name.clone()),
			None => Plan::Own { filtered: false },
		});
	}
	let why = if settings.network.is_some() {
		"on the network of --container-network, containers reach this machine's network: leave the option \
		 out"
	} else if facts.rootless {
		"the engine runs without root, where containers cannot be kept out of this machine's network: use a \
		 Docker or Podman that runs as root"
	} else {
		match facts.firewall {
			Ok(()) => return Ok(Plan::Own { filtered: true }),
			Err(Obstacle::Capability) => {
				"the agent may not keep containers out of this machine's network: run it as root or with \
				 CAP_NET_ADMIN (see kaisar-provider.service)"
			}
			Err(Obstacle::Program) => {
				"nft is missing, which keeps containers out of this machine's network: install the package \
				 nftables"
			}
		}
	};
	Err(format!("{why}, or let containers in with --allow-lan"))
}

/// Decides which network containers of this engine get, as [`decide`].
pub(super) async fn plan(
	shared: &SupervisorState,
	engine: &Engine,
) -> Result<Result<Plan, String>, Fault> {
	let (version, info) = engine.about().await?;
	let (make, version) = Make::of(&version);
	let mut options = info.security_options.iter().flatten();
	let facts = Facts {
		make,
		version,
		rootless: options.any(|option| option.split(',').any(|part| part == "name=rootless")),
		firewall: if shared.settings.allow_lan {
			Ok(())
		} else {
			nft::usable().await
		},
	};
	Ok(decide(&shared.settings, &facts))
}

/// Returns the reason why an order's NVIDIA GPUs may not be handed out, if it has any.
pub(super) async fn gpu_refusal(config: &HostConfig, settings: &Settings) -> Option<String> {
	config.device_requests.as_ref()?;
	versions::toolkit_refusal(versions::toolkit().await, settings.allow_old_engine)
}

/// Names of an order's network and bridge.
struct Names {
	network: String,
	bridge: String,
}

impl Names {
	fn of(agent: &str, key: &Key, order: OrderId) -> Self {
		let (genesis, worker) = labels_of(key);
		let digest = hash("bridge", &[agent.as_bytes(), &(key, order).encode()]);
		Self {
			network: format!("kaisar-{order}-{worker}-{}-{}", &genesis[..8], &agent[..8]),
			// A device's name has at most 15 bytes.
			bridge: format!("{}{}", bridge_prefix(agent), &hex::encode(digest)[..7]),
		}
	}
}

/// Creates an order's network if it is missing, and makes sure of the table. Returns the network's name, or
/// the reason why it cannot be used.
pub(super) async fn prepare(
	shared: &SupervisorState,
	engine: &Engine,
	plan: &Plan,
	key: &Key,
	order: OrderId,
) -> Result<Result<String, String>, Fault> {
	let filtered = match plan {
		Plan::Named(name) => return Ok(Ok(name.clone())),
		Plan::Own { filtered } => *filtered,
	};
	let names = Names::of(&shared.agent, key, order);
	let (version, _) = engine.about().await?;
	let (make, _) = Make::of(&version);
	let all = ours(shared, engine).await?;
	let exists = all
		.iter()
		.any(|network| network.name.as_ref() == Some(&names.network));
	if !exists {
		let (genesis, worker) = labels_of(key);
		let labels = HashMap::from([
			(LABEL_AGENT.into(), shared.agent.clone()),
			(LABEL_GENESIS.into(), genesis),
			(LABEL_WORKER.into(), worker),
			(LABEL_ORDER.into(), order.to_string()),
		]);
		let made = match make {
			Make::Podman => {
				podman::create(engine.socket(), &names.network, &names.bridge, &labels).await
			}
			Make::Docker | Make::Other => create(engine, &names, labels).await,
		};
		match made {
			Ok(()) => tracing::info!(
				order,
				network = names.network,
				bridge = names.bridge,
				"a network was created"
			),
			Err(fault @ Fault::Silent(_)) => return Err(fault),
			Err(fault) => {
				return Ok(Err(format!(
					"the engine cannot create a network for the order: {fault}"
				)));
			}
		}
	}
	if !filtered {
		return Ok(Ok(names.network));
	}
	// Podman creates the bridge with the first container (`is_apart`).
	if make != Make::Podman && !is_here(&names.bridge) {
		return Ok(Err(ELSEWHERE.into()));
	}
	Ok(shared
		.firewall
		.hold(&shared.agent, engine)
		.await?
		.map(|()| names.network))
}

/// The search domain with which engines write none.
const NO_SEARCH: &str = ".";

const ELSEWHERE: &str = "the engine's networks are not in the agent's network namespace, so the agent cannot \
	keep containers out of this machine's network: run the agent outside of a container, or let containers in \
	with --allow-lan";

/// Creates a network by the Docker API.
async fn create(
	engine: &Engine,
	names: &Names,
	labels: HashMap<String, String>,
) -> Result<(), Fault> {
	let request = |apart: bool| {
		let mut options = HashMap::from([(
			"com.docker.network.bridge.name".to_owned(),
			names.bridge.clone(),
		)]);
		if apart {
			options.insert(
				"com.docker.network.bridge.enable_icc".into(),
				"false".into(),
			);
		}
		NetworkCreateRequest {
			name: names.network.clone(),
			driver: Some("bridge".into()),
			enable_ipv6: Some(false),
			internal: Some(false),
			options: Some(options),
			labels: Some(labels.clone()),
			..Default::default()
		}
	};
	match engine.create_network(request(true)).await {
		// Docker needs the kernel's br_netfilter to keep containers of one network apart. Here they are one.
		Err(Fault::Refused(why)) if why.contains("inter-container") => {
			tracing::debug!(why, "the network is created with inter-container traffic");
			engine.create_network(request(false)).await
		}
		made => made,
	}
}

/// Adds the network's resolvers to a container's configuration. A filtered container does not get the search
/// domains of this machine either, which engines copy: they name its owner's network.
pub(super) fn resolvers(config: &mut HostConfig, plan: &Plan, settings: &Settings) {
	let named = &settings.resolvers;
	let used: &[Ipv4Addr] = match plan {
		_ if !named.is_empty() => named,
		Plan::Own { filtered: true } => &PUBLIC_RESOLVERS,
		// Those of this machine, by the engine.
		_ => return,
	};
	config.dns = Some(used.iter().map(ToString::to_string).collect());
	if let Plan::Own { filtered: true } = plan {
		config.dns_search = Some(vec![NO_SEARCH.into()]);
	}
}

/// Makes sure of the table before a container starts. The error is the reason why it may not.
pub(super) async fn admit(
	shared: &SupervisorState,
	engine: &Engine,
) -> Result<Result<(), String>, Fault> {
	match plan(shared, engine).await? {
		Ok(Plan::Own { filtered: true }) => shared.firewall.hold(&shared.agent, engine).await,
		Ok(_) => Ok(Ok(())),
		Err(why) => Ok(Err(why)),
	}
}

/// Checks that a container that was just started is on a bridge that the table covers. One that has ended in
/// the meantime passes: Podman removes a bridge with its last container.
pub(super) async fn is_apart(
	shared: &SupervisorState,
	engine: &Engine,
	key: &Key,
	order: OrderId,
	id: &str,
) -> Result<Result<(), String>, Fault> {
	let names = Names::of(&shared.agent, key, order);
	// The bridge is looked for before the container: one that runs afterwards had its bridge then.
	if shared.settings.allow_lan || is_here(&names.bridge) {
		return Ok(Ok(()));
	}
	let found = engine.inspect(id).await?.unwrap_or_default();
	let runs = found.state.and_then(|state| state.running) == Some(true);
	let networks = found
		.network_settings
		.and_then(|settings| settings.networks)
		.unwrap_or_default();
	// A container of an earlier version of the agent stays where it was created.
	if runs && networks.contains_key(&names.network) {
		return Ok(Err(ELSEWHERE.into()));
	}
	Ok(Ok(()))
}

/// Returns whether a network device exists in the namespace of this thread.
fn is_here(device: &str) -> bool {
	let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
	has_device(&devices, device)
}

/// Returns whether a list of devices, in the form of `/proc/net/dev`, has one.
fn has_device(devices: &str, name: &str) -> bool {
	let names = devices.lines().filter_map(|line| line.split_once(':'));
	names
		.map(|(found, _)| found.trim())
		.any(|found| found == name)
}

/// Removes networks of a worker, except that of the order that runs.
pub(super) async fn tidy(
	shared: &SupervisorState,
	engine: &Engine,
	key: &Key,
	runs: Option<OrderId>,
) -> Result<(), Fault> {
	let (genesis, worker) = labels_of(key);
	let runs = runs.map(|order| order.to_string());
	remove(shared, engine, |labels| {
		value(labels, LABEL_GENESIS) == genesis
			&& value(labels, LABEL_WORKER) == worker
			&& Some(value(labels, LABEL_ORDER)) != runs.as_deref()
	})
	.await
	.or_else(|fault| match fault {
		Fault::Silent(_) => Err(fault),
		// Its container may not be gone yet. The next look tries again.
		fault => {
			tracing::debug!(%fault, "cannot remove a network");
			Ok(())
		}
	})
}

/// Removes networks of workers that this agent does not know.
pub(super) async fn tidy_unknown(shared: &SupervisorState, engine: &Engine) -> Result<(), Fault> {
	remove(shared, engine, |labels| {
		!shared.knows(value(labels, LABEL_GENESIS), value(labels, LABEL_WORKER))
	})
	.await
}

/// Removes this agent's networks whose labels fit. A network that the engine does not remove is an error
/// after the others.
async fn remove(
	shared: &SupervisorState,
	engine: &Engine,
	fits: impl Fn(&HashMap<String, String>) -> bool,
) -> Result<(), Fault> {
	let mut removed = Ok(());
	for network in ours(shared, engine).await? {
		let labels = network.labels.unwrap_or_default();
		let Some(name) = network.name.filter(|_| fits(&labels)) else {
			continue;
		};
		match engine.remove_network(&name).await {
			Ok(()) => tracing::info!(network = name, "a network was removed"),
			Err(fault @ Fault::Silent(_)) => return Err(fault),
			Err(fault) => removed = Err(fault),
		}
	}
	removed
}

fn value<'a>(labels: &'a HashMap<String, String>, name: &str) -> &'a str {
	labels.get(name).map_or("", String::as_str)
}

/// Lists this agent's networks.
async fn ours(shared: &SupervisorState, engine: &Engine) -> Result<Vec<Network>, Fault> {
	let label = format!("{LABEL_AGENT}={}", shared.agent);
	let mut all = engine.networks(Some(label)).await?;
	all.retain(|network| {
		let agent = network
			.labels
			.as_ref()
			.and_then(|labels| labels.get(LABEL_AGENT));
		agent == Some(&shared.agent)
	});
	Ok(all)
}

/// State of the agent's table, as far as the agent knows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Held {
	/// An earlier run may have left it.
	#[default]
	Unknown,
	/// It was applied.
	Applied(Table),
	Removed,
}

/// The agent's table in the kernel's firewall.
#[derive(Default)]
pub(super) struct Firewall(Mutex<Held>);

impl Firewall {
	/// Makes sure that the table is in force: compares it with what the kernel has, and puts it in place if
	/// they differ. The error is the reason why it is not.
	async fn hold(&self, agent: &str, engine: &Engine) -> Result<Result<(), String>, Fault> {
		let mut held = self.0.lock().await;
		let table = Table::new(agent, near(subnets(&engine.networks(None).await?)));
		Ok(Self::put(&mut held, table)
			.await
			.map_err(|why| format!("cannot keep containers out of this machine's network: {why}")))
	}

	/// Puts the table back that was last in force, without a question to the engine. The error is the reason
	/// why it is not in force.
	async fn restore(&self) -> Result<(), String> {
		let mut held = self.0.lock().await;
		let Held::Applied(table) = held.clone() else {
			return Ok(());
		};
		Self::put(&mut held, table).await
	}

	async fn put(held: &mut Held, table: Table) -> Result<(), String> {
		let there = nft::table(&table.name).await?;
		let is_there = |answer: &Option<_>| match answer {
			Some(answer) => table.verify(answer),
			None => Err("the table is missing".into()),
		};
		let Err(why) = is_there(&there) else {
			*held = Held::Applied(table);
			return Ok(());
		};
		// Its set changes with the engine's networks.
		if *held == Held::Applied(table.clone()) {
			tracing::warn!(
				table = table.name,
				why,
				"another program changed the firewall table that keeps containers out of this machine's \
				 network; restoring it"
			);
		}
		nft::apply(&table.text()).await?;
		is_there(&nft::table(&table.name).await?)?;
		tracing::info!(table = table.name, "the firewall table is in force");
		*held = Held::Applied(table);
		Ok(())
	}

	/// Removes the table if this agent has no network.
	async fn release(&self, shared: &SupervisorState, engine: &Engine) -> Result<(), String> {
		let mut held = self.0.lock().await;
		if *held == Held::Removed {
			return Ok(());
		}
		// A network is created before its table, so no network is missed while the lock is held.
		let networks = ours(shared, engine).await;
		if !networks.map_err(|fault| fault.to_string())?.is_empty() {
			return Ok(());
		}
		let name = table_name(&shared.agent);
		if nft::table(&name).await?.is_some() {
			nft::delete(&name).await?;
			tracing::info!(table = name, "the firewall table was removed");
		}
		*held = Held::Removed;
		Ok(())
	}
}

/// Returns the IPv4 networks of the engine's networks.
fn subnets(networks: &[Network]) -> Vec<Range> {
	networks
		.iter()
		.filter_map(|network| network.ipam.as_ref()?.config.as_ref())
		.flatten()
		.filter_map(|config| Range::parse(config.subnet.as_deref()?))
		.collect()
}

/// Keeps the table in force while there are networks, and removes it afterwards, until it is dropped.
pub(super) async fn guard(shared: Arc<SupervisorState>) {
	let mut last = None;
	loop {
		if let Some(engine) = shared.engine() {
			match look(&shared, &engine).await {
				Ok(()) => last = None,
				Err(why) => {
					if last.as_ref() != Some(&why) {
						tracing::warn!("{why}");
					}
					last = Some(why);
				}
			}
		}
		tokio::time::sleep(shared.settings.timeouts.guard).await;
	}
}

async fn look(shared: &SupervisorState, engine: &Engine) -> Result<(), String> {
	// An engine that is away leaves its containers running, so the table stays. The silence is reported
	// elsewhere.
	let Ok(networks) = ours(shared, engine).await else {
		return shared.firewall.restore().await;
	};
	if networks.is_empty() {
		return match nft::usable().await {
			Ok(()) => shared.firewall.release(shared, engine).await,
			Err(_) => Ok(()),
		};
	}
	if shared.settings.allow_lan {
		return Ok(());
	}
	// Even where no further container may start: those that run are kept in.
	match shared.firewall.hold(&shared.agent, engine).await {
		Ok(held) => held,
		Err(_) => shared.firewall.restore().await,
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use bollard::models::{Ipam, IpamConfig};
	use sp_core::H256;

	const DOCKER: Facts = Facts {
		make: Make::Docker,
		version: Some(Version(28, 0, 0)),
		rootless: false,
		firewall: Ok(()),
	};

	fn settings() -> Settings {
		Settings::default()
	}

	#[test]
	fn a_container_gets_a_filtered_network_or_none() {
		let own = Ok(Plan::Own { filtered: true });
		assert_eq!(decide(&settings(), &DOCKER), own);
		let podman = Facts {
			make: Make::Podman,
			version: Some(Version(4, 3, 1)),
			..DOCKER
		};
		assert_eq!(decide(&settings(), &podman), own);
		let named = Settings {
			network: Some("bridge".into()),
			..settings()
		};
		let cases = [
			(named, DOCKER, "--container-network"),
			(
				settings(),
				Facts {
					rootless: true,
					..DOCKER
				},
				"without root",
			),
			(
				settings(),
				Facts {
					firewall: Err(Obstacle::Capability),
					..DOCKER
				},
				"CAP_NET_ADMIN",
			),
			(
				settings(),
				Facts {
					firewall: Err(Obstacle::Program),
					..DOCKER
				},
				"package nftables",
			),
		];
		for (settings, facts, says) in cases {
			let why = decide(&settings, &facts).unwrap_err();
			assert!(why.contains(says) && why.contains("--allow-lan"), "{why}");
			// The customer and the node get at most 256 bytes of it.
			assert!(why.len() <= 256, "{}: {why}", why.len());
			// The flag allows it, with the named network or without a filter.
			let allowed = Settings {
				allow_lan: true,
				..settings
			};
			let plan = match &allowed.network {
				Some(name) => Plan::Named(name.clone()),
				None => Plan::Own { filtered: false },
			};
			assert_eq!(decide(&allowed, &facts), Ok(plan));
		}
	}

	#[test]
	fn an_old_engine_needs_a_flag_of_its_own() {
		let old = Facts {
			version: Some(Version(20, 10, 24)),
			..DOCKER
		};
		for allow_lan in [false, true] {
			let mut settings = Settings {
				allow_lan,
				..settings()
			};
			let why = decide(&settings, &old).unwrap_err();
			assert!(why.contains("--allow-old-engine"), "{why}");
			assert!(why.len() <= 256, "{}: {why}", why.len());
			settings.allow_old_engine = true;
			let filtered = !allow_lan;
			assert_eq!(decide(&settings, &old), Ok(Plan::Own { filtered }));
		}
		assert!(ELSEWHERE.len() <= 256, "{}", ELSEWHERE.len());
	}

	#[test]
	fn names_differ_by_agent_chain_worker_and_order() {
		let agents = [hex::encode([1; 32]), hex::encode([2; 32])];
		let mut bridges = Vec::new();
		for agent in &agents {
			for genesis in [3, 4] {
				for worker in [5, 6] {
					for order in [7, 8] {
						let key = (H256::repeat_byte(genesis), worker);
						let names = Names::of(agent, &key, order);
						assert_eq!(names.bridge.len(), 15);
						assert!(names.bridge.starts_with(&bridge_prefix(agent)));
						assert!(
							names
								.network
								.starts_with(&format!("kaisar-{order}-{worker}-"))
						);
						bridges.push(names.bridge);
					}
				}
			}
		}
		bridges.sort();
		bridges.dedup();
		assert_eq!(bridges.len(), 16);
	}

	#[test]
	fn a_device_is_found_by_its_whole_name() {
		let devices = "Inter-|   Receive\n face |bytes\n    lo: 1 2\nks1a2b3c0123456: 0 0\n";
		assert!(has_device(devices, "lo") && has_device(devices, "ks1a2b3c0123456"));
		assert!(!has_device(devices, "ks1a2b3c") && !has_device("", "lo"));
		assert!(is_here("lo"));
	}

	#[test]
	fn a_filtered_container_asks_public_resolvers() {
		let resolved = |plan: &Plan, settings: &Settings| {
			let mut config = HostConfig::default();
			resolvers(&mut config, plan, settings);
			config.dns.unwrap_or_default()
		};
		let filtered = Plan::Own { filtered: true };
		let open = Plan::Own { filtered: false };
		assert_eq!(resolved(&filtered, &settings()), ["1.1.1.1", "9.9.9.9"]);
		assert!(
			PUBLIC_RESOLVERS
				.into_iter()
				.all(|address| kaisar_tunnel::is_public(address.into()))
		);
		for plan in [&open, &Plan::Named("bridge".into())] {
			assert!(resolved(plan, &settings()).is_empty(), "the engine's");
		}
		let named = Settings {
			resolvers: vec![Ipv4Addr::new(8, 8, 8, 8)],
			..settings()
		};
		assert_eq!(resolved(&filtered, &named), ["8.8.8.8"]);
		assert_eq!(resolved(&open, &named), ["8.8.8.8"]);
	}

	#[test]
	fn the_engines_networks_are_read_from_its_answer() {
		let network = |subnets: &[&str]| Network {
			ipam: Some(Ipam {
				config: Some(
					subnets
						.iter()
						.map(|subnet| IpamConfig {
							subnet: Some((*subnet).into()),
							..Default::default()
						})
						.collect(),
				),
				..Default::default()
			}),
			..Default::default()
		};
		let networks = [
			network(&["172.17.0.0/16"]),
			network(&[]),
			network(&["fd00::/64", "10.89.0.0/24"]),
			Network::default(),
		];
		let found = subnets(&networks);
		assert_eq!(
			found,
			["172.17.0.0/16", "10.89.0.0/24"].map(|text| Range::parse(text).unwrap())
		);
	}
}
