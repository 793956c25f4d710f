//! The firewall table of an agent, as text for nft and as nft's answer must show it.
//!
//! The rules match the bridges of the agent's networks by the beginning of their names, so the table stays
//! the same while orders come and go, and it exists before the first packet of a container. Their chains run
//! before the engine's: a packet that they drop is dropped, and one that they accept still passes the
//! engine's rules.

use super::ranges::{Range, merged};
use serde_json::{Value, json};
use std::{fmt::Write as _, net::Ipv4Addr};

/// Priority of the chains: before those of engines and of other firewalls, which are at 0 (`filter`).
const PRIORITY: i32 = -10;
/// Maximum number of outgoing connections of all containers together. The kernel tracks some 260,000 on a
/// machine with 8 GB or more; without a limit, a container could use them up, and the machine's own checks
/// would fail.
const MAX_CONNECTIONS: u32 = 16_384;
/// Name of the set of ranges that a container must not reach.
const NEAR: &str = "near";

/// Chains that the kernel runs, with the name of their hook, and chains that rules jump to.
const CHAINS: [(&str, bool); 5] = [
	("forward", true),
	("input", true),
	("leaving", false),
	("arriving", false),
	("to_host", false),
];

/// All rules, in order.
const RULES: [Rule; 12] = [
	Rule::new(
		"forward",
		&[Match::From],
		Verdict::Jump("leaving"),
		"from a container",
	),
	Rule::new(
		"forward",
		&[Match::To],
		Verdict::Jump("arriving"),
		"to a container",
	),
	Rule::new(
		"input",
		&[Match::From],
		Verdict::Jump("to_host"),
		"to this machine",
	),
	// Answers belong to connections that the other side began. Those that a container began are judged by
	// their destination, packet by packet, so none of them outlives a time without this table.
	Rule::new("leaving", &[Match::Reply], Verdict::Accept, "answers"),
	Rule::new("leaving", &[Match::Ipv6], Verdict::Drop, "IPv6"),
	Rule::new("leaving", &[Match::Near], Verdict::Drop, "not public"),
	Rule::new("leaving", &[Match::To], Verdict::Drop, "another container"),
	Rule::new(
		"leaving",
		&[Match::New, Match::Many],
		Verdict::Drop,
		"too many connections",
	),
	Rule::new("arriving", &[Match::Reply], Verdict::Accept, "answers"),
	Rule::new("arriving", &[], Verdict::Drop, "past the tunnel"),
	Rule::new("to_host", &[Match::Reply], Verdict::Accept, "answers"),
	Rule::new("to_host", &[], Verdict::Drop, "this machine"),
];

/// A condition of a rule.
#[derive(Clone, Copy)]
enum Match {
	/// The packet comes from a bridge of the agent's.
	From,
	/// The packet goes to a bridge of the agent's.
	To,
	/// The packet belongs to a connection that its receiver began.
	Reply,
	Ipv6,
	/// The packet goes to an address of the set.
	Near,
	/// The packet begins a connection.
	New,
	/// Containers have more than [`MAX_CONNECTIONS`] connections.
	Many,
}

#[derive(Clone, Copy)]
enum Verdict {
	Accept,
	Drop,
	Jump(&'static str),
}

#[derive(Clone, Copy)]
struct Rule {
	chain: &'static str,
	matches: &'static [Match],
	verdict: Verdict,
	comment: &'static str,
}

impl Rule {
	const fn new(
		chain: &'static str,
		matches: &'static [Match],
		verdict: Verdict,
		comment: &'static str,
	) -> Self {
		Self {
			chain,
			matches,
			verdict,
			comment,
		}
	}

	/// Returns the rule as nft reads it.
	fn text(&self, bridges: &str) -> String {
		let mut text = String::new();
		for part in self.matches {
			let part = match part {
				Match::From => format!("iifname \"{bridges}\" "),
				Match::To => format!("oifname \"{bridges}\" "),
				Match::Reply => "ct direction reply ".into(),
				Match::Ipv6 => "meta nfproto ipv6 ".into(),
				Match::Near => format!("ip daddr @{NEAR} "),
				Match::New => "ct state new ".into(),
				Match::Many => format!("ct count over {MAX_CONNECTIONS} "),
			};
			text.push_str(&part);
		}
		let verdict = match self.verdict {
			Verdict::Accept => "accept".into(),
			Verdict::Drop => "drop".into(),
			Verdict::Jump(chain) => format!("jump {chain}"),
		};
		format!("{text}counter {verdict} comment \"{}\"", self.comment)
	}

	/// Returns the rule as nft prints it in JSON, without its counter.
	fn json(&self, bridges: &str) -> Value {
		let equal = |left: Value, right: &str| json!({ "match": { "op": "==", "left": left, "right": right } });
		let mut parts: Vec<Value> = self
			.matches
			.iter()
			.map(|part| match part {
				Match::From => equal(json!({ "meta": { "key": "iifname" } }), bridges),
				Match::To => equal(json!({ "meta": { "key": "oifname" } }), bridges),
				Match::Reply => equal(json!({ "ct": { "key": "direction" } }), "reply"),
				Match::Ipv6 => equal(json!({ "meta": { "key": "nfproto" } }), "ipv6"),
				Match::Near => equal(
					json!({ "payload": { "protocol": "ip", "field": "daddr" } }),
					&format!("@{NEAR}"),
				),
				Match::New => json!({
					"match": { "op": "in", "left": { "ct": { "key": "state" } }, "right": "new" }
				}),
				Match::Many => json!({ "ct count": { "val": MAX_CONNECTIONS, "inv": true } }),
			})
			.collect();
		parts.push(match self.verdict {
			Verdict::Accept => json!({ "accept": null }),
			Verdict::Drop => json!({ "drop": null }),
			Verdict::Jump(chain) => json!({ "jump": { "target": chain } }),
		});
		json!({ "chain": self.chain, "comment": self.comment, "expr": parts })
	}
}

/// The table of an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Table {
	/// Its name. Several agents may run on one machine.
	pub name: String,
	/// Beginning of the names of the agent's bridges, and an asterisk.
	bridges: String,
	/// Ranges that a container must not reach, without overlaps.
	near: Vec<Range>,
}

impl Table {
	/// Creates the table of an agent by its key in hexadecimal.
	pub fn new(agent: &str, near: Vec<Range>) -> Self {
		Self {
			name: table_name(agent),
			bridges: format!("{}*", bridge_prefix(agent)),
			near,
		}
	}

	/// Returns the commands for nft that put this table in the place of the one before, all at once.
	pub fn text(&self) -> String {
		let Self {
			name,
			bridges,
			near,
		} = self;
		let near: Vec<String> = near.iter().map(ToString::to_string).collect();
		// A table can only be deleted once it exists.
		let mut text = format!(
			"table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n\tset {NEAR} {{\n\t\ttype \
			 ipv4_addr\n\t\tflags interval\n\t\telements = {{ {} }}\n\t}}\n",
			near.join(", ")
		);
		// Chains that rules jump to come before those rules.
		for (chain, is_hook) in CHAINS.iter().rev() {
			// Writing to a string never fails.
			let _ = writeln!(text, "\tchain {chain} {{");
			if *is_hook {
				let _ = writeln!(
					text,
					"\t\ttype filter hook {chain} priority {PRIORITY}; policy accept;"
				);
			}
			for rule in RULES.iter().filter(|rule| rule.chain == *chain) {
				let _ = writeln!(text, "\t\t{}", rule.text(bridges));
			}
			text.push_str("\t}\n");
		}
		text.push_str("}\n");
		text
	}

	/// Checks that nft's answer in JSON shows exactly this table. The error names the first difference.
	pub fn verify(&self, answer: &Value) -> Result<(), String> {
		let objects = answer.get("nftables").and_then(Value::as_array);
		let objects = objects.ok_or("nft's answer has no objects")?;
		let of = |kind: &'static str| objects.iter().filter_map(move |object| object.get(kind));
		// nft prints flags only where there are some, such as `dormant`, with which no rule is in force.
		if of("table").any(|table| table.get("flags").is_some()) {
			return Err("the table is switched off".into());
		}
		for (name, is_hook) in CHAINS {
			let chain = of("chain").find(|chain| chain["name"] == name);
			let chain = chain.ok_or_else(|| format!("the chain {name} is missing"))?;
			if is_hook
				&& !(chain["type"] == "filter"
					&& chain["hook"] == name
					&& chain["prio"] == PRIORITY
					&& chain["policy"] == "accept")
			{
				return Err(format!("the chain {name} has another hook"));
			}
			let found: Vec<Value> = of("rule")
				.filter(|rule| rule["chain"] == name)
				.map(plain)
				.collect();
			let wanted: Vec<Value> = RULES
				.iter()
				.filter(|rule| rule.chain == name)
				.map(|rule| rule.json(&self.bridges))
				.collect();
			if found != wanted {
				return Err(format!("the chain {name} has other rules"));
			}
		}
		if of("chain").count() != CHAINS.len() {
			return Err("the table has further chains".into());
		}
		let set = of("set").find(|set| set["name"] == NEAR);
		let elements = set
			.and_then(|set| set.get("elem"))
			.and_then(Value::as_array);
		let found: Option<Vec<Range>> = elements.into_iter().flatten().map(range).collect();
		if found.map(merged).as_ref() != Some(&self.near) {
			return Err("the set of addresses is another".into());
		}
		Ok(())
	}
}

/// Returns the name of an agent's table.
pub(super) fn table_name(agent: &str) -> String {
	format!("kaisar_{}", &agent[..8])
}

/// Returns the beginning of the names of an agent's bridges.
pub(super) fn bridge_prefix(agent: &str) -> String {
	format!("ks{}", &agent[..6])
}

/// Returns a rule of nft's answer without its handle and its counter.
fn plain(rule: &Value) -> Value {
	let parts = rule["expr"].as_array().into_iter().flatten();
	let parts: Vec<&Value> = parts.filter(|part| part.get("counter").is_none()).collect();
	json!({ "chain": rule["chain"], "comment": rule["comment"], "expr": parts })
}

/// Returns an element of a set in nft's answer: an address, a network or a range.
fn range(element: &Value) -> Option<Range> {
	let address = |value: &Value| value.as_str()?.parse::<Ipv4Addr>().ok();
	if let Some(network) = element.get("prefix") {
		let bits = network["len"].as_u64()?.try_into().ok()?;
		return Range::network(address(&network["addr"])?, bits);
	}
	if let Some(ends) = element.get("range") {
		return Some(Range {
			first: address(&ends[0])?,
			last: address(&ends[1])?,
		});
	}
	let only = address(element)?;
	Some(Range {
		first: only,
		last: only,
	})
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::containers::network::ranges::near;

	const AGENT: &str = "1a2b3c4d5e6f";

	fn table() -> Table {
		Table::new(AGENT, near(Range::parse("20.1.0.0/16")))
	}

	/// The table as nft 1.0.6 prints it, with counters.
	fn printed(table: &Table) -> Value {
		let mut objects = vec![
			json!({ "metainfo": { "version": "1.0.6", "json_schema_version": 1 } }),
			json!({ "table": { "family": "inet", "name": table.name, "handle": 3 } }),
		];
		let element = |range: &Range| {
			if range.first == range.last {
				json!(range.first.to_string())
			} else if *range == Range::parse("10.0.0.0/8").unwrap() {
				json!({ "prefix": { "addr": "10.0.0.0", "len": 8 } })
			} else {
				json!({ "range": [range.first.to_string(), range.last.to_string()] })
			}
		};
		let elements: Vec<Value> = table.near.iter().map(element).collect();
		objects.push(json!({ "set": { "name": NEAR, "type": "ipv4_addr", "elem": elements } }));
		for (name, is_hook) in CHAINS {
			objects.push(if is_hook {
				json!({ "chain": {
					"name": name, "type": "filter", "hook": name, "prio": -10, "policy": "accept",
				}})
			} else {
				json!({ "chain": { "name": name } })
			});
		}
		for rule in &RULES {
			let mut rule = rule.json(&table.bridges);
			rule["handle"] = json!(7);
			let parts = rule["expr"].as_array_mut().unwrap();
			let verdict = parts.pop().unwrap();
			parts.push(json!({ "counter": { "packets": 5, "bytes": 300 } }));
			parts.push(verdict);
			objects.push(json!({ "rule": rule }));
		}
		json!({ "nftables": objects })
	}

	#[test]
	fn the_text_replaces_the_table_at_once_and_drops_what_is_near() {
		let text = table().text();
		let lines: Vec<&str> = text.lines().map(str::trim).collect();
		assert_eq!(
			lines[..3],
			[
				"table inet kaisar_1a2b3c4d",
				"delete table inet kaisar_1a2b3c4d",
				"table inet kaisar_1a2b3c4d {"
			]
		);
		for line in [
			"type filter hook forward priority -10; policy accept;",
			"type filter hook input priority -10; policy accept;",
			"iifname \"ks1a2b3c*\" counter jump leaving comment \"from a container\"",
			"oifname \"ks1a2b3c*\" counter jump arriving comment \"to a container\"",
			"iifname \"ks1a2b3c*\" counter jump to_host comment \"to this machine\"",
			"meta nfproto ipv6 counter drop comment \"IPv6\"",
			"ip daddr @near counter drop comment \"not public\"",
			"ct state new ct count over 16384 counter drop comment \"too many connections\"",
			"counter drop comment \"this machine\"",
		] {
			assert!(lines.contains(&line), "{line}\n{text}");
		}
		let elements = lines
			.iter()
			.find(|line| line.starts_with("elements"))
			.unwrap();
		for range in [
			"10.0.0.0-10.255.255.255",
			"20.1.0.0-20.1.255.255",
			"168.63.129.16,",
			"169.254.0.0-169.254.255.255",
		] {
			assert!(elements.contains(range), "{range}: {elements}");
		}
	}

	#[test]
	fn an_answer_that_shows_the_table_is_accepted() {
		assert_eq!(table().verify(&printed(&table())), Ok(()));
	}

	#[test]
	fn any_difference_is_found() {
		let table = table();
		let changed = |change: &dyn Fn(&mut Vec<Value>)| {
			let mut answer = printed(&table);
			change(answer["nftables"].as_array_mut().unwrap());
			table.verify(&answer).unwrap_err()
		};
		let is_of = |object: &Value, kind: &str, name: &str| {
			object[kind]["name"] == name || object[kind]["chain"] == name
		};
		// Each rule, chain and set is needed, and each rule in its place.
		for at in 2..printed(&table)["nftables"].as_array().unwrap().len() {
			changed(&|objects| {
				objects.remove(at);
			});
		}
		let swapped = changed(&|objects| {
			let first = objects.iter().position(|it| is_of(it, "rule", "leaving"));
			objects.swap(first.unwrap(), first.unwrap() + 1);
		});
		assert!(swapped.contains("leaving"), "{swapped}");
		let added = changed(&|objects| {
			objects.push(json!({ "rule": { "chain": "input", "expr": [{ "accept": null }] } }));
		});
		assert!(added.contains("input"), "{added}");
		let hooked = changed(&|objects| {
			let chain = objects.iter_mut().find(|it| is_of(it, "chain", "input"));
			chain.unwrap()["chain"]["prio"] = json!(10);
		});
		assert!(hooked.contains("input"), "{hooked}");
		let smaller = changed(&|objects| {
			let set = objects.iter_mut().find(|it| is_of(it, "set", NEAR));
			set.unwrap()["set"]["elem"].as_array_mut().unwrap().pop();
		});
		assert!(smaller.contains("addresses"), "{smaller}");
		changed(&|objects| objects.push(json!({ "chain": { "name": "more" } })));
		let dormant = changed(&|objects| objects[1]["table"]["flags"] = json!("dormant"));
		assert!(dormant.contains("switched off"), "{dormant}");
		assert!(table.verify(&json!({})).is_err());
		// A bridge of another agent's is not this one's.
		let other = Table::new("ffffffffffff", table.near.clone());
		assert!(other.verify(&printed(&table)).is_err());
	}
}
