//! Tests that the tables of `docs/classes.md` are those that the example prints.

#[path = "../examples/class_table.rs"]
mod class_table;

use kaisar_math::classes::CLASSES;

#[test]
fn the_documents_tables_are_the_programs() {
	let (text, place, tables) = class_table::document();
	println!("{tables}");
	assert_eq!(
		text[place], tables,
		"run `cargo run -p kaisar-math --example class_table -- --write`"
	);
}

#[test]
fn a_measured_class_is_in_the_matrices() {
	let mut classes = CLASSES;
	assert!(class_table::calibrated(&classes).contains("No class is calibrated."));
	for class in &mut classes {
		if class.id == 1 || class.id == 4 {
			class.measured = class.planned().map(|planned| planned.trial_turns);
		}
	}
	let tables = class_table::calibrated(&classes);
	println!("{tables}");
	let row = |name| {
		let cells = tables.lines().find(|line| line.ends_with(name)).unwrap();
		cells
			.split_whitespace()
			.map(String::from)
			.collect::<Vec<_>>()
	};
	// H200, H100 SXM, H100 PCIe, A100 NVLINK and PCIE: unmeasured classes by their peaks.
	assert_eq!(row("  H100 80GB SXM")[..6], ["1", "P", "P", "P", "-", "-"]);
	// The H100 passes for two of the measured A100.
	assert!(tables.contains("\n   1   1   ?   ?   2   ?"), "copies");
}
