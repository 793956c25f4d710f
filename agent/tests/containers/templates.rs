//! The repository's templates (`templates/`). Each is deployed with a stand-in for its image
//! (`scripts/engine-templates.sh`), which has that image's entrypoint, user and ports, and fails without the
//! template's arguments, variables and capabilities.

use super::{Engine, LIMIT, Node, deployment, engine_says, script};
use kaisar_primitives::{DeployFailure, agent::Deployment};
use serde::Deserialize;
use std::{fs, net::SocketAddr, path::Path};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// The part of a template's file that a deployment and a stand-in need.
#[derive(Deserialize)]
struct Template {
	id: u32,
	name: String,
	args: Vec<String>,
	env: Vec<String>,
	ports: Vec<Port>,
	capabilities: Vec<Capability>,
	access: Access,
	parameters: Vec<Parameter>,
	upstream: Upstream,
}

#[derive(Deserialize)]
struct Port {
	port: u16,
}

#[derive(Deserialize)]
struct Capability {
	name: String,
}

#[derive(Deserialize)]
struct Access {
	protocol: String,
}

#[derive(Deserialize)]
struct Parameter {
	env: String,
	example: String,
	required: bool,
}

/// Properties of the template's real image.
#[derive(Deserialize)]
struct Upstream {
	entrypoint: Vec<String>,
	cmd: Vec<String>,
	user: String,
	exposed: Vec<u16>,
}

impl Template {
	/// Reads all templates, by ascending number.
	fn all() -> Vec<Self> {
		let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
		let files = fs::read_dir(folder).unwrap();
		let mut all: Vec<Self> = files
			.map(|file| file.unwrap().path())
			.filter(|path| {
				path.extension()
					.is_some_and(|extension| extension == "json")
			})
			.map(|path| {
				serde_json::from_slice(&fs::read(&path).unwrap())
					.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
			})
			.collect();
		all.sort_by_key(|template| template.id);
		assert!(all.len() >= 10);
		all
	}

	/// Returns the variables that an order has to give, as `NAME=VALUE`.
	fn required(&self) -> Vec<String> {
		let required = self.parameters.iter().filter(|it| it.required);
		required
			.map(|Parameter { env, example, .. }| format!("{env}={example}"))
			.collect()
	}

	/// Returns whether its container ends at once if a required variable is missing.
	fn insists(&self) -> bool {
		self.args.iter().any(|argument| argument.contains(":?"))
	}

	/// Returns the names of its capabilities.
	fn capabilities(&self) -> Vec<String> {
		self.capabilities.iter().map(|it| it.name.clone()).collect()
	}

	fn image(&self) -> String {
		format!("localhost/kaisar-template-{}:1", self.name)
	}
}

/// Deploys a template as an order with these variables would.
fn deployment_of(order: u32, template: &Template, env: &[String]) -> Deployment {
	Deployment {
		args: template.args.clone(),
		env: template.env.iter().chain(env).cloned().collect(),
		ports: template.ports.iter().map(|it| it.port).collect(),
		capabilities: template.capabilities(),
		..deployment(order, &template.image())
	}
}

/// Makes the stand-in for a template's image.
fn stand_in(engine: &Engine, template: &Template) {
	let Upstream {
		entrypoint,
		cmd,
		user,
		exposed,
	} = &template.upstream;
	let list = |words: &[String]| serde_json::to_string(words).unwrap();
	let mut changes = vec![format!("USER {user}")];
	changes.extend(exposed.iter().map(|port| format!("EXPOSE {port}")));
	if !entrypoint.is_empty() {
		changes.push(format!("ENTRYPOINT {}", list(entrypoint)));
	}
	if !cmd.is_empty() {
		changes.push(format!("CMD {}", list(cmd)));
	}
	let mut arguments = vec![template.name.as_str()];
	arguments.extend(changes.iter().map(String::as_str));
	script(engine.dir(), "stand-in", &arguments);
}

/// Ensures that the program that answers is the template's.
async fn assert_answers(node: &Node, template: &Template, address: SocketAddr) {
	let name = &template.name;
	match template.access.protocol.as_str() {
		"ssh" => {
			let mut greeting = [0; 8];
			let read = async {
				let mut stream = TcpStream::connect(address).await?;
				stream.read_exact(&mut greeting).await
			};
			tokio::time::timeout(LIMIT, read).await.unwrap().unwrap();
			assert_eq!(&greeting, b"SSH-2.0-", "{name}");
		}
		"http" => {
			let page = node.page(address, "/").await.unwrap();
			assert_eq!(page, format!("stand-in of {name}\n"));
		}
		other => panic!("{name}: the test does not speak {other}"),
	}
}

/// Returns the capabilities that the engine gave to a container, without prefixes, in order.
fn given(engine: &Engine, container: &str) -> Vec<String> {
	let format = if Engine::is_docker() {
		"{{.HostConfig.CapAdd}}"
	} else {
		"{{.BoundingCaps}}"
	};
	let found = engine.inspect(container, format);
	let mut names: Vec<String> = found
		.trim_matches(['[', ']'])
		.split_whitespace()
		.map(|name| name.trim_start_matches("CAP_").to_owned())
		.collect();
	names.sort();
	names
}

#[tokio::test]
async fn every_template_comes_up_with_its_own_parameters() {
	let engine = Engine::start();
	let settings = engine.settings();
	// On the machine's own network, a low port takes a capability.
	let shares_ports = settings.network.as_deref() == Some("host");
	let node = Node::new(settings);
	let agent = node.agent().await;
	for template in Template::all() {
		// For the output of a failed test.
		println!("template {}: {}", template.id, template.name);
		let env = template.required();
		stand_in(&engine, &template);
		let mut order = deployment_of(template.id, &template, &env);
		if shares_ports && template.ports[0].port < 1_024 {
			order.capabilities.push("NET_BIND_SERVICE".into());
		}
		let address = node.running(&agent, &order).await;
		let ports = agent.containers().served(template.id).unwrap().ports;
		assert_eq!(ports[0].0, template.ports[0].port, "{}", template.name);
		assert_answers(&node, &template, address).await;
		let mut expected = order.capabilities.clone();
		expected.sort();
		assert_eq!(
			given(&engine, &engine.only()),
			expected,
			"{}",
			template.name
		);
	}
	node.absent(&agent).await;
	engine_says(|| engine.containers().is_empty()).await;
}

#[tokio::test]
async fn a_template_fails_without_a_capability_or_a_variable_that_it_needs() {
	let engine = Engine::start();
	let node = Node::new(engine.settings());
	let agent = node.agent().await;
	let mut order = 0;
	let mut fails = async |template: &Template, env: &[String], without: Option<&str>| {
		order += 1;
		println!("order {order}: {} without {without:?}", template.name);
		let mut deployment = deployment_of(order, template, env);
		deployment
			.capabilities
			.retain(|capability| Some(capability.as_str()) != without);
		let (failure, message) = node.failed(&agent, &deployment).await;
		let name = &template.name;
		assert_eq!(failure, DeployFailure::ContainerExited, "{name}: {message}");
	};
	for template in Template::all() {
		if template.insists() {
			stand_in(&engine, &template);
			fails(&template, &[], None).await;
		}
		// Templates with SSH have the same capabilities for the same reasons.
		if !matches!(template.name.as_str(), "nginx" | "ubuntu-ssh") {
			continue;
		}
		let env = template.required();
		stand_in(&engine, &template);
		for capability in template.capabilities() {
			fails(&template, &env, Some(&capability)).await;
		}
	}
	assert!(order > 10, "{order}");
}
