//! Templates, and what a container runs with.

use crate::{failure::Failure, output::Facts, types::Template, workload::quoted};

/// Adds the lines on what a container runs with, apart from its image.
pub fn describe(facts: Facts, run: &Template) -> Facts {
	let mut facts = facts.maybe(
		"Arguments",
		(!run.args.is_empty()).then(|| quoted(&run.args)),
	);
	for (index, variable) in run.env.iter().enumerate() {
		facts = facts.add(if index == 0 { "Environment" } else { "" }, variable);
	}
	let capabilities: Vec<&str> = run.capabilities.iter().map(|it| it.name()).collect();
	let ports = if run.ports.is_empty() {
		"those that the image exposes".into()
	} else {
		ports(run)
	};
	facts.add("TCP ports", ports).maybe(
		"Capabilities",
		(!capabilities.is_empty()).then(|| capabilities.join(", ")),
	)
}

/// Lists the ports that customers are connected to, for a column of a table.
pub fn ports(run: &Template) -> String {
	if run.ports.is_empty() {
		return "exposed".into();
	}
	let ports: Vec<String> = run.ports.iter().map(u16::to_string).collect();
	ports.join(", ")
}

/// Reports a template that does not exist.
pub fn unknown(template: u32) -> Failure {
	Failure::not_found(format!("template {template} does not exist"))
		.advise("`kaisar templates` lists those of the chain")
}
