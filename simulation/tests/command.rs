//! Tests of the binary: its answers to bad input, its list, its JSON.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
	Command::new(env!("CARGO_BIN_EXE_kaisar-simulation"))
		.args(arguments)
		.output()
		.expect("the binary runs")
}

#[track_caller]
fn assert_refused(arguments: &[&str], reason: &str) {
	let output = run(arguments);
	let error = String::from_utf8_lossy(&output.stderr);
	assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
	assert!(error.contains(reason), "{arguments:?}: {error}");
	assert!(output.stdout.is_empty());
}

#[test]
fn bad_input_is_refused_with_a_reason() {
	assert_refused(&["--workers", "3"], "3 is not in 20..=1000000");
	assert_refused(&["--seeds", "0"], "0 is not in 1..=1000");
	assert_refused(&["--strategy", "cheat"], "no strategy is called cheat");
	assert_refused(&["--table", "chairs"], "possible values: strategies");
	assert_refused(&["--censuses", "many"], "invalid digit");
}

#[test]
fn the_list_names_every_strategy() {
	let output = run(&["--list"]);
	let text = String::from_utf8_lossy(&output.stdout);
	assert!(output.status.success());
	for scenario in kaisar_simulation::strategies::all() {
		assert!(
			text.contains(scenario.name) && text.contains(scenario.about),
			"{text}"
		);
	}
}

#[test]
fn a_play_is_printed_as_json_and_as_a_table() {
	let arguments = ["--workers", "20", "--strategy", "honest"];
	let json = run(&[&arguments[..], &["--json"]].concat());
	let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("it is JSON");
	assert_eq!(report["workers"], 20);
	assert_eq!(report["strategies"][0]["ratio"], 1.0);
	let table = run(&arguments);
	let text = String::from_utf8_lossy(&table.stdout);
	assert!(text.contains("| `honest` | 1.000 |"), "{text}");
}
