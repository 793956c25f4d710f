//! Tests that the tables of `docs/rewards.md` are those that the example prints.

#[path = "../examples/reward_table.rs"]
mod reward_table;

#[test]
fn the_documents_tables_are_the_programs() {
	let (text, blocks) = reward_table::document();
	for (place, tables) in blocks {
		assert_eq!(
			text[place], tables,
			"run `cargo run -p kaisar-math --example reward_table -- --write`"
		);
	}
}
