//! Reads a block's transactions and events, and asks a view function, with subxt. All types come from the
//! metadata that the node serves.
//!
//! ```text
//! cargo run -p kaisar-cli --example read_chain -- ws://127.0.0.1:9944 [BLOCK HASH]
//! ```
//!
//! Prints one JSON document. Calls the view function through the runtime API, since `view_functions()` of
//! subxt 0.51 omits the length of the arguments.

use codec::Decode;
use subxt::{
	OnlineClient, PolkadotConfig,
	dynamic::{self, Value},
	utils::H256,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
	let mut arguments = std::env::args().skip(1);
	let url = arguments
		.next()
		.ok_or("usage: read_chain URL [BLOCK HASH]")?;
	let client = OnlineClient::<PolkadotConfig>::from_insecure_url(url).await?;
	let at = match arguments.next() {
		Some(hash) => client.at_block(hash.parse::<H256>()?).await?,
		None => client.at_current_block().await?,
	};

	let mut calls = Vec::new();
	let mut signed = 0;
	let extrinsics = at.extrinsics().fetch().await?;
	for extrinsic in extrinsics.iter() {
		let extrinsic = extrinsic?;
		signed += u32::from(extrinsic.is_signed());
		calls.push(format!(
			"{}.{}",
			extrinsic.pallet_name(),
			extrinsic.call_name()
		));
		// Decode its arguments, by name.
		let fields = extrinsic.iter_call_data_fields();
		let decoded = fields.map(|field| field.decode_as::<Value>());
		decoded.collect::<Result<Vec<_>, _>>()?;
	}
	let mut events = Vec::new();
	for event in at.events().fetch().await?.iter() {
		let event = event?;
		event.decode_fields_unchecked_as::<Value>()?;
		events.push(format!("{}.{}", event.pallet_name(), event.event_name()));
	}

	// The runtime API takes the id of a view function and its encoded arguments.
	let views = at.view_functions();
	let call = dynamic::view_function_call::<_, u32>("Checkers", "active_licenses", ());
	let encoded = views.encode_args(call)?;
	let (id, arguments) = encoded.split_at(32);
	let id = Value::named_composite([
		("prefix", Value::from_bytes(&id[..16])),
		("suffix", Value::from_bytes(&id[16..])),
	]);
	let call = dynamic::runtime_api_call::<_, Result<Vec<u8>, Value>>(
		"RuntimeViewFunction",
		"execute_view_function",
		(id, Value::from_bytes(arguments)),
	);
	let answer = at.runtime_apis().call(call).await?;
	let answer = answer.map_err(|why| format!("the view function failed: {why}"))?;
	let active_licenses = u32::decode(&mut &answer[..])?;

	println!(
		"{}",
		serde_json::json!({
			"number": at.block_number(),
			"calls": calls,
			"signed": signed,
			"events": events,
			"active_licenses": active_licenses,
		})
	);
	Ok(())
}
