//! Templates, and what a container runs with.

use super::Context;
use crate::{
	failure::{Failure, Result},
	output::{Align, Facts, table},
	types::{Key, Template, Text},
	views,
	workload::quoted,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sp_io::hashing::blake2_256;
use std::{fs, path::Path};

/// The part of a template's document that is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Document {
	name: String,
	text: String,
}

impl Document {
	/// Reads a template's document, whose hash must be the chain's.
	fn read(path: &Path, hash: Option<Key>) -> Result<Self> {
		let file = path.display();
		let bytes = fs::read(path).map_err(|error| {
			Failure::usage(format!("cannot read {file}: {error}"))
				.advise("--metadata takes the template's document")
		})?;
		let found = Key(blake2_256(&bytes));
		let Some(hash) = hash else {
			return Err(
				Failure::usage("the template has no document").advise("leave out --metadata")
			);
		};
		if found != hash {
			return Err(Failure::usage(format!(
				"{file} has the hash {found}; the template's document has {hash}"
			))
			.advise("take the document from the template's publisher, unchanged"));
		}
		serde_json::from_slice(&bytes).map_err(|error| {
			Failure::usage(format!("{file} is not a template's document: {error}"))
				.advise("it is JSON with the texts `name` and `text`")
		})
	}
}

/// Lists the chain's templates.
pub async fn list(context: &Context) -> Result<()> {
	#[derive(Serialize)]
	struct Listed {
		id: u32,
		#[serde(flatten)]
		template: Template,
	}
	let at = context.chain().await?.best().await?;
	let templates: Vec<Listed> = views::templates(&at)
		.await?
		.into_iter()
		.map(|(id, template)| Listed { id, template })
		.collect();
	context.output.show(&templates, || {
		if templates.is_empty() {
			return "no templates".into();
		}
		let rows: Vec<Vec<String>> = templates
			.iter()
			.map(|Listed { id, template }| {
				vec![
					id.to_string(),
					template.image.to_string(),
					ports(template),
					capabilities(template),
				]
			})
			.collect();
		table(
			&[
				("TEMPLATE", Align::Right),
				("IMAGE", Align::Left),
				("PORTS", Align::Left),
				("CAPABILITIES", Align::Left),
			],
			&rows,
		)
	})
}

/// Describes a template.
pub async fn show(context: &Context, id: u32, metadata: Option<&Path>) -> Result<()> {
	let at = context.chain().await?.best().await?;
	let template = views::template(&at, id).await?;
	let template = template.ok_or_else(|| unknown(id))?;
	let document = metadata.map(|path| Document::read(path, template.metadata));
	let document = document.transpose()?;
	let value = json!({ "id": id, "template": template, "document": document });
	context.output.show(&value, || {
		let printable = |text: &str| Text(text.as_bytes().to_vec());
		let facts = Facts::default()
			.add("Template", id)
			.maybe("Name", document.as_ref().map(|it| printable(&it.name)))
			.maybe("", document.as_ref().map(|it| printable(&it.text)))
			.add("Image", &template.image);
		describe(facts, &template)
			.maybe("Document", template.metadata)
			.text()
	})
}

/// Adds the lines on what a container runs with, apart from its image.
pub fn describe(facts: Facts, run: &Template) -> Facts {
	let mut facts = facts.maybe(
		"Arguments",
		(!run.args.is_empty()).then(|| quoted(&run.args)),
	);
	for (index, variable) in run.env.iter().enumerate() {
		facts = facts.add(if index == 0 { "Environment" } else { "" }, variable);
	}
	let ports = if run.ports.is_empty() {
		"those that the image exposes".into()
	} else {
		ports(run)
	};
	facts.add("TCP ports", ports).maybe(
		"Capabilities",
		(!run.capabilities.is_empty()).then(|| capabilities(run)),
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

/// Lists the capabilities that the container keeps.
fn capabilities(run: &Template) -> String {
	let names: Vec<&str> = run.capabilities.iter().map(|it| it.name()).collect();
	names.join(", ")
}

/// Reports a template that does not exist.
pub fn unknown(template: u32) -> Failure {
	Failure::not_found(format!("template {template} does not exist"))
		.advise("`kaisar templates` lists those of the chain")
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_document_is_the_one_that_the_chain_has_the_hash_of() {
		let dir = tempfile::tempdir().expect("there is room");
		let path = dir.path().join("nginx.json");
		let read = |text: &str, hash: Option<Key>| {
			fs::write(&path, text).expect("it is written");
			Document::read(&path, hash)
		};
		let hash_of = |text: &str| Some(Key(blake2_256(text.as_bytes())));
		let good = r#"{"name":"nginx","text":"A web server.","hardware":{"disk":1}}"#;
		let document = read(good, hash_of(good)).expect("it is the document");
		assert_eq!(
			(&*document.name, &*document.text),
			("nginx", "A web server.")
		);
		for (text, hash, says) in [
			(good, None, "no document"),
			(good, hash_of("{}"), "has the hash 0x"),
			("{}", hash_of("{}"), "missing field"),
			("nginx", hash_of("nginx"), "not a template's document"),
		] {
			let failure = read(text, hash).expect_err(says);
			assert!(failure.message.contains(says), "{failure}");
			assert!(failure.advice.is_some(), "{failure}");
		}
		let missing = Document::read(&dir.path().join("none"), None).expect_err("it is missing");
		assert!(missing.message.contains("cannot read"), "{missing}");
	}

	#[test]
	fn a_container_is_described_with_all_that_it_runs_with() {
		let text = |text: &str| Text(text.into());
		let mut template = Template {
			image: text("nginx"),
			args: vec![],
			env: vec![],
			ports: vec![],
			capabilities: vec![],
			metadata: None,
		};
		assert_eq!(
			describe(Facts::default(), &template).text(),
			"TCP ports  those that the image exposes"
		);
		template.args = vec![text("--name"), text("two words")];
		template.env = vec![text("A=1"), text("B=\x1b[2J")];
		template.ports = vec![8_080, 22];
		let lines = describe(Facts::default(), &template).text();
		let lines: Vec<&str> = lines.lines().collect();
		assert_eq!(
			lines,
			[
				"Arguments    --name 'two words'",
				"Environment  A=1",
				"             B=\u{fffd}[2J",
				"TCP ports    8080, 22",
			]
		);
	}
}
