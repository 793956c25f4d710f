//! Finds a target of the agent by its name.

/// Runs it.
pub fn run(name: &str, bytes: &[u8]) {
	let target = kaisar_agent::fuzzing::TARGETS
		.iter()
		.find(|(known, _)| *known == name);
	target.expect("it is one of the agent's").1(bytes);
}
