//! `kaisar-agent serve-measure`, and the part of `detect` that measures with it.

use anyhow::{Result, bail};
use clap::Args;
use kaisar_agent::{
	peer::measure::{self, Host, Line, PeerName, UNKNOWN_MBPS},
	worker::claim::Link,
};
use std::{net::SocketAddr, time::Duration};

#[derive(Args)]
pub struct ServeMeasure {
	/// UDP address to listen on.
	#[arg(long, default_value = "0.0.0.0:9702")]
	bind: SocketAddr,
	/// Address at which others reach this machine if a router forwards the port. Repeatable.
	#[arg(long, value_name = "ADDRESS:PORT")]
	address: Vec<SocketAddr>,
	/// Maximum rate to send at, in Mb/s.
	#[arg(long, default_value_t = UNKNOWN_MBPS, value_parser = clap::value_parser!(u32).range(1..=100_000))]
	mbps: u32,
	/// Minutes after which it stops and its token expires.
	#[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1_440))]
	minutes: u64,
}

/// Serves machines whose operators have one of the printed names.
pub async fn serve(args: ServeMeasure) -> Result<()> {
	let host = Host::bind(args.bind, args.mbps).await?;
	let named: Vec<PeerName> = args
		.address
		.iter()
		.map(|address| host.name_at(*address))
		.collect();
	let names = if named.is_empty() {
		host.names()
	} else {
		named
	};
	let (mbps, minutes) = (args.mbps, args.minutes);
	eprintln!(
		"For {minutes} minutes this measures, at up to {mbps} Mb/s, machines that run one of these commands:"
	);
	for name in names {
		println!("kaisar-agent detect --measure {name}");
	}
	tokio::select! {
		() = host.serve(Duration::from_secs(minutes * 60)) => (),
		_ = tokio::signal::ctrl_c() => (),
	}
	Ok(())
}

/// A measured line, with remarks for the operator.
pub struct Measured {
	pub line: Line,
	pub remarks: Vec<String>,
}

/// Returns the fastest line that any of these peers measures; `None` without peers.
pub fn line(peers: &[PeerName], link: Option<&Link>) -> Result<Option<Measured>> {
	if peers.is_empty() {
		return Ok(None);
	}
	let runtime = tokio::runtime::Runtime::new()?;
	let (mut best, mut remarks): (Option<Line>, _) = (None, Vec::new());
	for peer in peers {
		eprintln!("Measuring with {peer:?} …");
		let found = runtime.block_on(measure::measure(peer, link.map(|link| link.mbps)));
		let line = match found {
			Ok(line) => line,
			Err(error) => {
				remarks.push(format!("bandwidth: not measured: {error:#}"));
				continue;
			}
		};
		let Line {
			down_mbps,
			up_mbps,
			tier,
			offered_mbps,
		} = line;
		remarks.push(format!(
			"bandwidth: measured with {peer:?}: {down_mbps} Mb/s down, {up_mbps} Mb/s up, tier {tier}. This peer \
			 stands in for a committee: its own line and the route to it must be as fast"
		));
		if down_mbps.max(up_mbps) >= offered_mbps {
			remarks.push(format!(
				"bandwidth: only {offered_mbps} Mb/s were offered: the line may be faster"
			));
		}
		let rank = |line: &Line| (line.tier, line.down_mbps.min(line.up_mbps));
		if best.is_none_or(|best| rank(&line) > rank(&best)) {
			best = Some(line);
		}
	}
	match best {
		Some(line) => Ok(Some(Measured { line, remarks })),
		None => bail!("no peer measured this line:\n{}", remarks.join("\n")),
	}
}
