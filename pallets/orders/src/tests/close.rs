//! Tests of `close_order`.

use super::*;

fn close(id: u32) -> sp_runtime::DispatchResult {
	Rentals::close_order(signed(ANYONE), id)
}

#[test]
fn fails_while_nothing_is_due() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = place(CARLA, 1);
		assert_noop!(close(id), Error::<Test>::NothingDue);
		matched(id);
		assert_noop!(close(id), Error::<Test>::NothingDue);
		confirm(id);
		assert_noop!(close(id), Error::<Test>::NothingDue);
		run_to(order(id).ends_at);
		assert_noop!(close(id), Error::<Test>::NothingDue);
		check(0, now(), Verdict::Fine);
		assert_noop!(close(id), Error::<Test>::NothingDue);
	});
}

#[test]
fn boundary_of_an_orders_end() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 1);
		System::set_block_number(order(id).ends_at - 1);
		assert_noop!(close(id), Error::<Test>::NothingDue);
		// No hook has run.
		System::set_block_number(order(id).ends_at);
		events();
		assert_ok!(close(id));
		assert_eq!(
			events(),
			vec![Event::OrderClosing {
				order: id,
				reason: CloseReason::Expired,
				ends_at: now()
			}]
		);
		assert_eq!(machine(worker).forced, 1);
		next_block();
	});
}

#[test]
fn boundary_of_the_deployments_deadline() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 1);
		System::set_block_number(order(id).deploy_by);
		assert_noop!(close(id), Error::<Test>::NothingDue);
		System::set_block_number(order(id).deploy_by + 1);
		assert_ok!(close(id));
		assert_eq!(state(id), closed(CloseReason::DeployFailed));
		assert_eq!((free(CARLA), machine(worker).slashes), (FUNDS, 1));
		next_block();
	});
}

#[test]
fn closes_an_order_whose_worker_was_taken_from_it() {
	for advance in [
		|_| {},
		|id| confirm(id),
		|id| {
			confirm(id);
			run_to(order(id).ends_at);
		},
	] {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let (id, worker) = placed(CARLA, 1);
			advance(id);
			with_machine(worker, |machine| {
				machine.order = None;
				machine.state = WorkerState::Offline;
			});
			assert_ok!(close(id));
			assert_eq!(state(id), closed(CloseReason::WorkerFailed));
			assert_eq!(free(CARLA), FUNDS);
		});
	}
}

#[test]
fn closes_what_a_check_that_is_over_ends() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 1);
		with_machine(worker, |machine| {
			machine.open = Some((now() + 1, Some(Verdict::Down)))
		});
		assert_ok!(close(id));
		assert_eq!(state(id), closed(CloseReason::ServiceDown));
	});
}

#[test]
fn looks_after_the_last_check_where_the_agenda_is_behind() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 1);
		run_to(order(id).ends_at);
		System::set_block_number(order(id).wake - 1);
		assert_noop!(close(id), Error::<Test>::NothingDue);
		System::set_block_number(order(id).wake);
		assert_ok!(close(id));
		assert_eq!(machine(worker).forced, 2);
		next_block();
	});
}
