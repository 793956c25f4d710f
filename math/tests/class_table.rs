//! The tables of `docs/classes.md` are those that the program prints.

#[path = "../examples/class_table.rs"]
mod class_table;

#[test]
fn the_documents_tables_are_the_programs() {
	let (text, place, tables) = class_table::document();
	println!("{tables}");
	assert_eq!(
		text[place], tables,
		"run `cargo run -p kaisar-math --example class_table -- --write`"
	);
}
