//! Pieces of mock runtimes.

pub mod observers;
pub mod runtime;

/// Returns a pallet's events since the last call, or since the block began.
pub fn take_events<Runtime, Event>() -> Vec<Event>
where
	Runtime: frame_system::Config<RuntimeEvent: TryInto<Event>>,
{
	let events = frame_system::Pallet::<Runtime>::read_events_for_pallet::<Event>();
	frame_system::Pallet::<Runtime>::reset_events();
	events
}
