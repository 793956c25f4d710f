//! The workload of an order: its options, and the chain's limits on it.

use crate::{
	args::tcp_port,
	failure::{Failure, Result},
	types::{Image, Template, Text, Workload},
};
use clap::Args;
use kaisar_primitives::{
	MILLISECS_PER_BLOCK,
	order::{DEPLOY_BLOCKS, MAX_PORTS, MAX_WORKLOAD, MAX_WORKLOAD_ITEMS, RESERVED_ENV},
};
use std::{fs, path::PathBuf};

/// Blocks in a minute.
const BLOCKS_PER_MINUTE: u16 = (60_000 / MILLISECS_PER_BLOCK) as u16;

/// Configuration of an order's container. All of it is public on the chain.
#[derive(Args, Clone, Debug, Default)]
pub struct Container {
	/// Argument of the container, in place of the image's own (the entrypoint stays). Repeatable, in this
	/// order. Public on the chain.
	#[arg(long = "arg", value_name = "VALUE", allow_hyphen_values = true)]
	args: Vec<String>,
	/// Environment variable, in addition to the image's own. Repeatable. Public on the chain: never a
	/// password or a token.
	#[arg(long, value_name = "NAME=VALUE")]
	env: Vec<String>,
	/// File with environment variables, one NAME=VALUE a line, and comments after #. --env overrides it.
	/// Repeatable. Public on the chain, too.
	#[arg(long, value_name = "FILE")]
	env_file: Vec<PathBuf>,
	/// TCP port of the container that `kaisar connect` leads to (default: those that the image exposes).
	/// Repeatable, up to 8; the first must answer, since checks ask it. Public on the chain.
	#[arg(long = "port", value_name = "PORT", value_parser = tcp_port)]
	ports: Vec<u16>,
	/// Minutes for the pull and the container's first answer, 15 to 120 and at most the hours (default: the
	/// chain's, and five minutes from the container's start to its answer).
	#[arg(long, value_name = "MINUTES")]
	deploy_minutes: Option<u16>,
}

impl Container {
	/// Returns the workload of an order for these hours. Reads the files of variables.
	pub fn workload(&self, image: Image, hours: u32) -> Result<Workload> {
		let mut env = Vec::new();
		for path in &self.env_file {
			let file = path.display();
			let text = fs::read_to_string(path).map_err(|error| {
				Failure::usage(format!("cannot read the variables in {file}: {error}"))
					.advise("--env-file takes a text file with one NAME=VALUE a line")
			})?;
			for (number, line) in (1..).zip(text.lines()) {
				if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
					set(&mut env, line, &format!("{file}, line {number}"))?;
				}
			}
		}
		for variable in &self.env {
			set(&mut env, variable, "--env")?;
		}
		let text = |text: &String| Text(text.clone().into_bytes());
		let workload = Workload {
			args: self.args.iter().map(text).collect(),
			env: env.iter().map(text).collect(),
			ports: self.ports.clone(),
			deploy_blocks: self.deploy_blocks(hours)?,
			..Workload::of(image)
		};
		check(&workload, None)?;
		Ok(workload)
	}

	fn deploy_blocks(&self, hours: u32) -> Result<u16> {
		let Some(minutes) = self.deploy_minutes else {
			return Ok(0);
		};
		let (least, most) = (
			DEPLOY_BLOCKS.start() / BLOCKS_PER_MINUTE,
			DEPLOY_BLOCKS.end() / BLOCKS_PER_MINUTE,
		);
		if !(least..=most).contains(&minutes) {
			return Err(Failure::usage(format!(
				"--deploy-minutes {minutes}: a deployment takes from {least} to {most} minutes"
			))
			.advise("leave it out for the chain's default"));
		}
		if u32::from(minutes) > hours.saturating_mul(60) {
			return Err(Failure::usage(format!(
				"--deploy-minutes {minutes} exceeds the {hours} h of the order"
			))
			.advise("give fewer minutes, or more --hours"));
		}
		Ok(minutes.saturating_mul(BLOCKS_PER_MINUTE))
	}
}

/// Sets a variable, given as `NAME=VALUE` at `place`. Errors do not show the value.
fn set(env: &mut Vec<String>, variable: &str, place: &str) -> Result<()> {
	let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
	let Some((name, _)) = variable.split_once('=').filter(|(name, _)| is_name(name)) else {
		return Err(
			Failure::usage(format!("{place}: not a variable as NAME=VALUE"))
				.advise("give the name, =, and the value, e.g. LANG=C"),
		);
	};
	if RESERVED_ENV.iter().any(|(reserved, _)| name == *reserved) {
		return Err(
			Failure::usage(format!("{place}: {name} is set by the worker's agent")).advise(
				"leave it out: the container gets all GPUs of the order and no other device",
			),
		);
	}
	let own = |other: &String| {
		other
			.split_once('=')
			.is_some_and(|(other, _)| other == name)
	};
	env.retain(|other| !own(other));
	env.push(variable.to_owned());
	Ok(())
}

/// Checks the chain's limits on a workload, together with the template that it names.
pub fn check(workload: &Workload, template: Option<&Template>) -> Result<()> {
	let nothing: &[Text] = &[];
	let (base_args, base_env) =
		template.map_or((nothing, nothing), |it| (&it.args[..], &it.env[..]));
	let args = if workload.args.is_empty() {
		base_args
	} else {
		&workload.args[..]
	};
	let env = || base_env.iter().chain(&workload.env);
	let with = match template {
		Some(_) => ", with those of the template",
		None => "",
	};
	let most = MAX_WORKLOAD_ITEMS as usize;
	for (number, things) in [
		(args.len(), "arguments"),
		(env().count(), "environment variables"),
	] {
		if number > most {
			return Err(Failure::usage(format!(
				"{number} {things}{with}: an order has at most {most}"
			))
			.advise("put the rest into the image"));
		}
	}
	let bytes: usize = args.iter().chain(env()).map(|item| item.0.len()).sum();
	if bytes > MAX_WORKLOAD as usize {
		return Err(Failure::usage(format!(
			"arguments and environment have {bytes} bytes{with}: an order has at most {MAX_WORKLOAD}"
		))
		.advise("put the rest into the image"));
	}
	if args.iter().chain(env()).any(|item| item.0.contains(&0)) {
		return Err(Failure::usage(
			"an argument or a variable has a zero byte, which no program can receive",
		)
		.advise("check the file of --env-file: it must be text"));
	}
	let ports = &workload.ports;
	if ports.len() > MAX_PORTS as usize {
		return Err(Failure::usage(format!(
			"{} ports: an order has at most {MAX_PORTS}",
			ports.len()
		))
		.advise("serve the rest behind one port, e.g. with a proxy in the container"));
	}
	let mut named = ports.iter().enumerate();
	if let Some((_, port)) = named.find(|(index, port)| ports[..*index].contains(port)) {
		return Err(
			Failure::usage(format!("port {port} is named twice")).advise("give each --port once")
		);
	}
	Ok(())
}

/// Formats arguments as a shell would take them, so that their boundaries are visible.
pub fn quoted(items: &[Text]) -> String {
	let plain = |letter: char| letter.is_alphanumeric() || "-_./:=@%+,".contains(letter);
	let words: Vec<String> = items
		.iter()
		.map(|item| {
			let text = item.to_string();
			if !text.is_empty() && text.chars().all(plain) {
				text
			} else {
				format!("'{}'", text.replace('\'', r"'\''"))
			}
		})
		.collect();
	words.join(" ")
}

#[cfg(test)]
mod tests {
	use super::*;
	use clap::Parser;

	#[derive(Parser)]
	struct Line {
		#[command(flatten)]
		container: Container,
	}

	fn image() -> Image {
		"nginx".parse().expect("it is an image")
	}

	fn parsed(words: &[&str], hours: u32) -> Result<Workload> {
		let line =
			Line::try_parse_from([&["order"][..], words].concat()).expect("it is well-formed");
		line.container.workload(image(), hours)
	}

	fn texts(items: &[Text]) -> Vec<String> {
		items.iter().map(ToString::to_string).collect()
	}

	#[test]
	fn options_make_a_workload_in_their_order() {
		assert_eq!(parsed(&[], 1), Ok(Workload::of(image())));
		let words = [
			"--arg",
			"--model",
			"--arg=two words",
			"--port",
			"8080",
			"--env",
			"B=2=3",
			"--env",
			"A=",
			"--arg",
			"",
			"--port=22/tcp",
			"--deploy-minutes",
			"60",
		];
		let workload = parsed(&words, 1).expect("it is within the limits");
		assert_eq!(texts(&workload.args), ["--model", "two words", ""]);
		assert_eq!(texts(&workload.env), ["B=2=3", "A="]);
		assert_eq!(workload.ports, [8_080, 22]);
		assert_eq!(workload.deploy_blocks, 300);
		assert_eq!(quoted(&workload.args), "--model 'two words' ''");
		let quote = [Text(b"it's \x1b".to_vec())];
		assert_eq!(quoted(&quote), "'it'\\''s \u{fffd}'");
	}

	#[test]
	fn variables_come_from_files_and_the_command_line_overrides_them() {
		let dir = tempfile::tempdir().expect("there is room");
		let path = dir.path().join("variables");
		let file = path.to_str().expect("it is text");
		let with = |text: &[u8]| {
			fs::write(&path, text).expect("it is written");
			parsed(&["--env", "A=own", "--env-file", file], 1)
		};
		let workload = with(b"# a comment\n\nA=1\r\n  # another\nB=# no comment\nC=\"1\"\n")
			.expect("it is well-formed");
		assert_eq!(texts(&workload.env), ["B=# no comment", "C=\"1\"", "A=own"]);
		for (text, says) in [
			(&b"A=1\nsecret"[..], "line 2: not a variable"),
			(b"\n=1", "line 2: not a variable"),
			(b"export A=1", "line 1: not a variable"),
			(
				b"#\n#\nNVIDIA_VISIBLE_DEVICES=all",
				"line 3: NVIDIA_VISIBLE_DEVICES is set by",
			),
			(b"B=\0", "zero byte"),
			(b"B=\xff", "cannot read"),
		] {
			let failure = with(text).expect_err(says);
			assert!(failure.message.contains(says), "{failure}");
			assert!(!failure.to_string().contains("secret"), "{failure}");
			assert_eq!(failure.kind.code(), 2);
		}
		let missing = parsed(&["--env-file", "/no/such/file"], 1).expect_err("it does not exist");
		assert!(missing.message.contains("/no/such/file"), "{missing}");
	}

	#[test]
	fn limits_are_named_before_anything_is_sent() {
		let fails = |words: &[&str], hours, says: &str| {
			let failure = parsed(words, hours).expect_err(says);
			assert!(failure.message.contains(says), "{failure}");
			assert!(failure.advice.is_some(), "{failure}");
		};
		let many = |option: &str, number: u16| -> Vec<String> {
			let values = (1..=number).map(|value| match option {
				"--env" => format!("--env=A{value}="),
				option => format!("{option}={value}"),
			});
			values.collect()
		};
		for (option, most) in [("--arg", 64), ("--env", 64), ("--port", 8)] {
			let fits = many(option, most);
			let fits: Vec<&str> = fits.iter().map(String::as_str).collect();
			assert!(parsed(&fits, 1).is_ok(), "{option}");
			let exceeds = many(option, most + 1);
			let exceeds: Vec<&str> = exceeds.iter().map(String::as_str).collect();
			fails(&exceeds, 1, &format!("has at most {most}"));
		}
		let long = "a".repeat(2_046);
		assert!(parsed(&["--arg", &long, "--env", "A="], 1).is_ok());
		fails(
			&["--arg", &long, "--env", "A=1"],
			1,
			"2049 bytes: an order has at most 2048",
		);
		fails(
			&["--port", "80", "--port", "80/tcp"],
			1,
			"port 80 is named twice",
		);
		fails(&["--env", "A"], 1, "--env: not a variable");
		fails(&["--deploy-minutes", "14"], 1, "from 15 to 120 minutes");
		fails(&["--deploy-minutes", "121"], 9, "from 15 to 120 minutes");
		fails(&["--deploy-minutes", "61"], 1, "exceeds the 1 h");
		assert_eq!(
			parsed(&["--deploy-minutes", "120"], 2).map(|workload| workload.deploy_blocks),
			Ok(600)
		);
		assert!(Line::try_parse_from(["order", "--port", "53/udp"]).is_err());
	}

	#[test]
	fn a_template_shares_the_limits() {
		let item = |text: &str| Text(text.into());
		let template = Template {
			image: item("nginx"),
			args: vec![item(&"a".repeat(2_000))],
			env: vec![item("A=1"); 63],
			ports: vec![],
			capabilities: vec![],
			metadata: None,
		};
		let with = |words: &[&str]| {
			let workload = parsed(words, 1).expect("it is within its own limits");
			check(&workload, Some(&template))
		};
		// 2,000 bytes of arguments, and 189 of variables.
		let failure = with(&[]).expect_err("it is too long");
		assert!(
			failure
				.message
				.contains("2189 bytes, with those of the template"),
			"{failure}"
		);
		// Own arguments replace those of the template.
		assert_eq!(with(&["--arg", "b", "--env", "B=1"]), Ok(()));
		let failure = with(&["--arg", "b", "--env", "B=1", "--env", "C=1"]).expect_err("65");
		assert!(
			failure
				.message
				.contains("65 environment variables, with those"),
			"{failure}"
		);
	}
}
