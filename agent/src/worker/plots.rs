//! The life of an agent's plot.
//!
//! A plot belongs to an agent and a chain, and is made once. It grows to the size that the claim plans, some
//! groups at a time, while no trial is timed and the machine is not rented. It leaves a part of its disk
//! free, and gives way to an order that needs the space: open trials then fail to read, and never show
//! anything false. The plan is stored, so that a plot keeps growing after a restart.

use crate::{
	containers::Room,
	host::{
		disk::{Space, gigabytes, is_shared},
		memory::HostMemory,
	},
	trial::{
		disk::{EXTENSIONS, Plot, Ready, Size, View, bytes_on_disk},
		judge,
		plot::Recipe,
	},
};
use codec::{Decode, DecodeAll, Encode};
use kaisar_primitives::OrderId;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
	collections::BTreeMap,
	ffi::OsStr,
	fs::{self, File, TryLockError},
	io,
	path::{Path, PathBuf},
	sync::{
		Arc,
		atomic::{AtomicBool, AtomicU32, Ordering},
	},
	thread::JoinHandle,
	time::Duration,
};

/// Folder of the plot in the agent's data folder.
const FOLDER: &str = "plot";
/// Name of the file with the plan.
const PLAN: &str = "plan";
/// Maximum length of that file, in bytes.
const PLAN_LENGTH: u64 = 1_024;
/// Interval of looks at the disk and at the plan.
const TICK: Duration = Duration::from_secs(3);
/// Largest plot that is made at once when it is wanted, in bytes: for development chains.
const AT_ONCE: u64 = 256 << 20;
/// Niceness of the threads that make groups while an agent runs.
const NICE: libc::c_int = 10;

/// A plot that is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
struct Plan {
	recipe: Recipe,
	groups: u32,
}

impl Plan {
	fn bytes(&self) -> u64 {
		u64::from(self.groups) * bytes_on_disk(&self.recipe)
	}

	/// Returns the claim in GB that this number of its groups shows.
	fn shown(&self, groups: u32) -> u32 {
		let bytes = u64::from(groups) * self.recipe.group_bytes();
		judge::disk_gb(bytes, Some(Duration::ZERO))
	}
}

/// The plot of an agent.
#[derive(Clone)]
pub struct Plots(Arc<Shared>);

struct Shared {
	/// The folder of the plot.
	dir: PathBuf,
	space: Box<dyn Fn() -> io::Result<Space> + Send + Sync>,
	/// Small plots follow the rules of large ones. True in tests only.
	is_strict: bool,
	/// The stored plan. Locked before the state.
	written: Mutex<Option<Plan>>,
	/// The only writer. Locked before the state, and while groups are made.
	writer: Mutex<Option<Plot>>,
	/// Number of waiters for the writer: making groups stops for them.
	waiting: AtomicU32,
	state: Mutex<State>,
	changed: Condvar,
}

#[derive(Default)]
struct State {
	plan: Option<Plan>,
	/// Current plot.
	view: Option<View>,
	/// Number of running trials.
	holds: u32,
	is_rented: bool,
	/// Bytes that the current orders got.
	orders: BTreeMap<OrderId, u64>,
	/// Plan whose shortage was logged, and the groups that fit.
	logged_shortage: Option<(Plan, u32)>,
	/// Error that keeps the plot from growing.
	failure: Option<String>,
	ended: bool,
	/// Number of changes that may let the plot grow.
	changes: u64,
}

impl State {
	fn may_grow(&self) -> bool {
		self.holds == 0 && !self.is_rented && !self.ended
	}

	/// Returns the number of whole groups of a recipe's plot.
	fn groups(&self, recipe: &Recipe) -> u32 {
		let view = self.view.as_ref();
		view.filter(|view| view.recipe() == recipe)
			.map_or(0, View::groups)
	}
}

/// Progress of a plot, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
	/// Current size.
	pub plotted: u64,
	/// Planned size.
	pub wanted: u64,
}

/// Keeps a plot from growing until it is dropped.
pub struct Hold(Arc<Shared>);

impl Drop for Hold {
	fn drop(&mut self) {
		self.0
			.change(|state| state.holds = state.holds.saturating_sub(1));
	}
}

/// Share of the machine that growing may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
	/// Half of the cores, at a lower priority than other programs.
	Background,
	/// All cores.
	All,
}

/// The thread that grows a plot. It ends when this is dropped.
pub struct Growing {
	plots: Plots,
	thread: Option<JoinHandle<()>>,
}

impl Drop for Growing {
	fn drop(&mut self) {
		self.plots.0.change(|state| state.ended = true);
		if let Some(thread) = self.thread.take() {
			// The thread has logged its error.
			let _ = thread.join();
		}
	}
}

/// Locks the data folder of an agent against use by two processes. `None` if another process uses it.
pub fn lock(data: &Path) -> io::Result<Option<File>> {
	fs::create_dir_all(data)?;
	let lock = File::create(data.join("lock"))?;
	match lock.try_lock() {
		Ok(()) => Ok(Some(lock)),
		Err(TryLockError::WouldBlock) => Ok(None),
		Err(TryLockError::Error(error)) => Err(error),
	}
}

/// Returns the bytes that plots take in a data folder, those of earlier versions too.
pub fn plotted_bytes(data: &Path) -> u64 {
	let files = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
	let plots = files(&data.join(FOLDER)).filter(|file| is_plots(&file.path()));
	let old = files(data).filter(|file| is_old(&file.path()));
	plots
		.chain(old)
		.filter_map(|file| Some(file.metadata().ok()?.len()))
		.sum()
}

/// Returns the bytes of the whole groups of a plot in a data folder, without opening it.
pub fn whole_bytes(data: &Path, recipe: &Recipe) -> u64 {
	let [.., roots] = EXTENSIONS;
	let roots = data.join(FOLDER).join(format!("{}.{roots}", recipe.name()));
	let groups = fs::metadata(roots).map_or(0, |file| file.len() / 32);
	groups * bytes_on_disk(recipe)
}

/// Stores a plan for the agent that uses a data folder. The agent finds it within some seconds.
pub fn write_plan(data: &Path, recipe: Recipe, groups: u32) -> io::Result<()> {
	let dir = data.join(FOLDER);
	fs::create_dir_all(&dir)?;
	let plan = Plan { recipe, groups };
	kaisar_fs::write_atomic(&dir.join(PLAN), &plan.encode(), kaisar_fs::BY_UMASK)
}

/// Returns the part of a plan that fits the disk of a data folder, in groups, with the reserve left free,
/// without opening the plot.
pub fn fitting(data: &Path, recipe: &Recipe, groups: u32) -> io::Result<u32> {
	let each = bytes_on_disk(recipe);
	let there = whole_bytes(data, recipe) / each;
	let more = match recipe.is_small() {
		true => u64::MAX,
		false => Space::of(data)?.beyond_reserve() / each,
	};
	let fitting = there.saturating_add(more).min(groups.into());
	Ok(u32::try_from(fitting).unwrap_or(groups))
}

fn is_plots(path: &Path) -> bool {
	let extension = path.extension().and_then(OsStr::to_str);
	extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

/// Returns whether a file is a plot of the first edition.
fn is_old(path: &Path) -> bool {
	let name = path.file_name().and_then(OsStr::to_str);
	let hex = name.and_then(|name| name.strip_prefix("plot-"));
	hex.is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Plots {
	/// Opens the plot in a data folder. It does not grow before it is [started](Self::start). Removes plots
	/// of the first edition.
	pub fn new(data: &Path) -> io::Result<Self> {
		let of = data.to_owned();
		Self::with_space(data, move || Space::of(&of), false)
	}

	fn with_space(
		data: &Path,
		space: impl Fn() -> io::Result<Space> + Send + Sync + 'static,
		is_strict: bool,
	) -> io::Result<Self> {
		let dir = data.join(FOLDER);
		fs::create_dir_all(&dir)?;
		for file in fs::read_dir(data)?.flatten() {
			if is_old(&file.path()) {
				tracing::info!(file = %file.path().display(), "removing a plot of an earlier version");
				fs::remove_file(file.path())?;
			}
		}
		let shared = Shared {
			space: Box::new(space),
			is_strict,
			written: Mutex::default(),
			writer: Mutex::default(),
			waiting: AtomicU32::default(),
			state: Mutex::default(),
			changed: Condvar::new(),
			dir,
		};
		shared.read_plan();
		Ok(Self(Arc::new(shared)))
	}

	/// Grows the plot in its own thread, whenever it may, until the result is dropped.
	pub fn start(&self, effort: Effort) -> io::Result<Growing> {
		let shared = self.0.clone();
		shared.state.lock().ended = false;
		let thread = std::thread::Builder::new()
			.name("plot".into())
			.spawn(move || shared.run(effort))?;
		Ok(Growing {
			plots: self.clone(),
			thread: Some(thread),
		})
	}

	/// Sets the plan of a claim's plot. A small plot is made at once; this blocks meanwhile. A plot of
	/// another recipe is removed. A plot larger than planned stays until its space is needed.
	pub fn want(&self, recipe: Recipe, groups: u32) {
		let plan = Plan { recipe, groups };
		self.0.set_plan(&plan);
		if self.0.is_small(&plan) && plan.bytes() <= AT_ONCE {
			self.0.make_at_once(&plan);
		}
	}

	/// Returns the number of whole groups of a plot. Blocks for some seconds if the plot was not opened yet.
	pub fn ready(&self, recipe: &Recipe) -> u32 {
		self.0.open(recipe);
		self.0.state.lock().groups(recipe)
	}

	/// Takes a plot's first groups for a trial; `None` if it has fewer. The plot may grow during the trial;
	/// [hold](Self::hold) it while the trial is timed.
	pub fn take(&self, recipe: &Recipe, size: Size) -> io::Result<Option<Ready>> {
		self.0.open(recipe);
		let view = self.0.state.lock().view.clone();
		match view.filter(|view| view.recipe() == recipe) {
			Some(view) => Ready::new(view, size),
			None => Ok(None),
		}
	}

	/// Keeps the plot from growing until the result is dropped. Returns once the work has stopped, within
	/// about a second.
	pub fn hold(&self) -> Hold {
		self.0.state.lock().holds += 1;
		let hold = Hold(self.0.clone());
		drop(self.0.writer());
		hold
	}

	/// Sets whether an order is served. The plot does not grow meanwhile.
	pub fn rented(&self, is_rented: bool) {
		self.0.change(|state| {
			state.is_rented = is_rented;
			if !is_rented {
				state.orders.clear();
			}
		});
	}

	/// Returns the progress of the plot.
	pub fn progress(&self) -> Progress {
		let state = self.0.state.lock();
		let Some(plan) = state.plan else {
			return Progress::default();
		};
		let groups = state.groups(&plan.recipe);
		Progress {
			plotted: u64::from(groups) * bytes_on_disk(&plan.recipe),
			wanted: plan.bytes(),
		}
	}

	/// Returns the error that keeps the plot from growing.
	pub fn failure(&self) -> Option<String> {
		self.0.state.lock().failure.clone()
	}

	/// Returns the number of groups that fit the disk, if the plan does not fit.
	pub fn shortage(&self) -> Option<u32> {
		let state = self.0.state.lock();
		let (plan, fitting) = state.logged_shortage?;
		(state.plan == Some(plan)).then_some(fitting)
	}

	/// Returns the part of a plan that fits the disk, in groups, with the reserve left free.
	pub fn fitting(&self, recipe: &Recipe, groups: u32) -> io::Result<u32> {
		let there = self.ready(recipe);
		let plan = Plan {
			recipe: *recipe,
			groups,
		};
		Ok(groups.min(there.saturating_add(self.0.fitting(&plan)?)))
	}
}

impl Room for Plots {
	fn make_room(&self, order: OrderId, bytes: u64, store: Option<&Path>) -> u64 {
		{
			let mut state = self.0.state.lock();
			state.is_rented = true;
			if let Some(given) = state.orders.get(&order) {
				return *given;
			}
		}
		let given = match self.0.make_room(bytes, store) {
			Ok(free) => bytes.min(free),
			Err(error) => {
				tracing::warn!(%error, order, "cannot read the disk's free space: the plot does not give way to the order");
				bytes
			}
		};
		if given < bytes {
			tracing::warn!(
				order,
				dir = %self.0.dir.display(),
				"the order gets only {} of the {} of disk that it rents: with its reserve left free, the disk has no \
				 more. Free space there, or claim less disk",
				gigabytes(given),
				gigabytes(bytes)
			);
		}
		self.0.state.lock().orders.insert(order, given);
		given
	}
}

/// Counts a waiter for the writer.
struct Waits<'a>(&'a AtomicU32);

impl Drop for Waits<'_> {
	fn drop(&mut self) {
		self.0.fetch_sub(1, Ordering::SeqCst);
	}
}

impl Shared {
	/// Locks the writer, as soon as the making of groups has stopped.
	fn writer(&self) -> MutexGuard<'_, Option<Plot>> {
		self.waiting.fetch_add(1, Ordering::SeqCst);
		let _waits = Waits(&self.waiting);
		self.writer.lock()
	}

	/// Changes the state, and wakes the thread that grows the plot.
	fn change(&self, change: impl FnOnce(&mut State)) {
		let mut state = self.state.lock();
		change(&mut state);
		state.changes += 1;
		self.changed.notify_all();
	}

	/// Takes over the stored plan, if another process changed it.
	fn read_plan(&self) {
		let mut written = self.written.lock();
		let read = || {
			let bytes = kaisar_fs::read_bounded(&self.dir.join(PLAN), PLAN_LENGTH).ok()?;
			Plan::decode_all(&mut &bytes[..]).ok()
		};
		if let Some(plan) = read()
			&& *written != Some(plan)
		{
			*written = Some(plan);
			self.state.lock().plan = Some(plan);
		}
	}

	fn set_plan(&self, plan: &Plan) {
		let mut written = self.written.lock();
		if self.state.lock().plan != Some(*plan) {
			self.change(|state| {
				state.plan = Some(*plan);
				state.failure = None;
			});
		}
		if *written == Some(*plan) {
			return;
		}
		match kaisar_fs::write_atomic(&self.dir.join(PLAN), &plan.encode(), kaisar_fs::BY_UMASK) {
			Ok(()) => *written = Some(*plan),
			Err(error) => tracing::warn!(
				%error,
				dir = %self.dir.display(),
				"cannot store the plot's plan: after a restart, the plot grows only from the next round on. Free space \
				 on its disk"
			),
		}
	}

	/// Returns whether a plot is too small to fill a disk.
	fn is_small(&self, plan: &Plan) -> bool {
		!self.is_strict && plan.recipe.is_small()
	}

	/// Looks at the plot and at the disk at each interval, and makes missing groups.
	fn run(&self, effort: Effort) {
		let cores = std::thread::available_parallelism().map_or(1, usize::from);
		let threads = match effort {
			Effort::All => cores,
			Effort::Background => {
				// SAFETY: it only changes the priority of this thread and of those that it starts.
				unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
				cores.div_ceil(2)
			}
		};
		loop {
			self.read_plan();
			let (plan, changes) = {
				let state = self.state.lock();
				(state.plan, state.changes)
			};
			let goes_on = match plan {
				Some(plan) => self.step(&plan, threads).unwrap_or_else(|error| {
					self.failed(&plan, &error);
					false
				}),
				None => false,
			};
			let mut state = self.state.lock();
			if state.ended {
				return;
			}
			if !goes_on && state.changes == changes {
				self.changed.wait_for(&mut state, TICK);
			}
		}
	}

	/// Opens the plot, keeps the reserve free, and makes groups. Returns whether more can be made now.
	fn step(&self, plan: &Plan, threads: usize) -> io::Result<bool> {
		self.open_or_fail(&plan.recipe)?;
		self.keep_reserve(plan)?;
		let there = self.state.lock().groups(&plan.recipe);
		let fitting = plan.groups.min(there.saturating_add(self.fitting(plan)?));
		self.log_shortage(plan, fitting);
		if there >= fitting || !self.state.lock().may_grow() {
			return Ok(false);
		}
		let at_once = in_memory(&plan.recipe, threads, HostMemory::now().available);
		if at_once == 0 {
			return Err(io::Error::other(format!(
				"{} of memory must be available to make a group; stop other programs",
				gigabytes(memory_of(&plan.recipe))
			)));
		}
		self.grow(plan, fitting, at_once)?;
		self.state.lock().failure = None;
		Ok(true)
	}

	/// Makes groups up to `groups`, until the disk is full or other work needs the machine.
	fn grow(&self, plan: &Plan, groups: u32, at_once: u32) -> io::Result<()> {
		if self.waiting.load(Ordering::SeqCst) > 0 {
			return Ok(());
		}
		let mut writer = self.writer.lock();
		let Some(plot) = writer.as_mut() else {
			return Ok(());
		};
		let full = AtomicBool::new(false);
		let wanted = |state: &State| state.may_grow() && state.plan.as_ref() == Some(plan);
		let goes_on = || {
			!full.load(Ordering::Relaxed)
				&& self.waiting.load(Ordering::SeqCst) == 0
				&& wanted(&self.state.lock())
		};
		let added = |groups| {
			self.show(groups);
			// Other programs write to the disk meanwhile.
			full.store(self.fitting(plan).unwrap_or(0) == 0, Ordering::Relaxed);
		};
		plot.grow(groups, at_once, goes_on, added)
	}

	/// Makes a small plot at once, even during a trial or an order.
	fn make_at_once(&self, plan: &Plan) {
		self.open(&plan.recipe);
		if self.state.lock().groups(&plan.recipe) >= plan.groups {
			return;
		}
		let grown = match self.writer().as_mut() {
			Some(plot) => plot.grow(plan.groups, 1, || true, |groups| self.show(groups)),
			None => Ok(()),
		};
		if let Err(error) = grown {
			self.failed(plan, &error);
		}
	}

	/// Records the plot's number of groups.
	fn show(&self, groups: u32) {
		let mut state = self.state.lock();
		state.view = state.view.as_ref().map(|view| view.with_groups(groups));
	}

	/// Opens the plot of a recipe, if it is the wanted one.
	fn open(&self, recipe: &Recipe) {
		let plan = self.state.lock().plan;
		let Some(plan) = plan.filter(|plan| plan.recipe == *recipe) else {
			return;
		};
		if let Err(error) = self.open_or_fail(recipe) {
			self.failed(&plan, &error);
		}
	}

	fn open_or_fail(&self, recipe: &Recipe) -> io::Result<()> {
		let is_open = |state: &State| {
			let view = state.view.as_ref();
			view.is_some_and(|view| view.recipe() == recipe)
		};
		if is_open(&self.state.lock()) {
			return Ok(());
		}
		let mut writer = self.writer();
		// Another thread may have opened it meanwhile.
		if is_open(&self.state.lock()) {
			return Ok(());
		}
		*writer = None;
		self.state.lock().view = None;
		let name = recipe.name();
		for file in fs::read_dir(&self.dir)?.flatten() {
			let path = file.path();
			if is_plots(&path) && path.file_stem() != Some(OsStr::new(&name)) {
				tracing::info!(file = %path.display(), "removing a plot of another chain or key");
				fs::remove_file(&path)?;
			}
		}
		let plot = Plot::open(&self.dir, &name, *recipe)?;
		self.state.lock().view = Some(plot.view());
		*writer = Some(plot);
		Ok(())
	}

	/// Shrinks the plot to `groups` groups.
	fn shrink(&self, groups: u32) -> io::Result<()> {
		let mut writer = self.writer();
		let Some(plot) = writer.as_mut() else {
			return Ok(());
		};
		plot.shrink(groups)?;
		self.show(plot.groups());
		Ok(())
	}

	/// Shrinks the plot by the number of groups that take `bytes`.
	fn free(&self, bytes: u64) -> io::Result<()> {
		let view = self.state.lock().view.clone();
		let Some(view) = view.filter(|view| bytes > 0 && view.groups() > 0) else {
			return Ok(());
		};
		let gone = bytes.div_ceil(bytes_on_disk(view.recipe()));
		let gone = u32::try_from(gone).unwrap_or(u32::MAX);
		let groups = view.groups().saturating_sub(gone);
		tracing::info!(
			dir = %self.dir.display(),
			"the plot shrinks from {} to {}: its space is needed",
			gigabytes(u64::from(view.groups()) * bytes_on_disk(view.recipe())),
			gigabytes(u64::from(groups) * bytes_on_disk(view.recipe()))
		);
		self.shrink(groups)
	}

	/// Frees disk for an order in addition to the reserve. Returns the bytes that the order can have.
	fn make_room(&self, bytes: u64, store: Option<&Path>) -> io::Result<u64> {
		// A store that is not found counts as on this disk.
		if let Some(store) = store
			&& store.exists()
			&& !is_shared(store, &self.dir)?
		{
			return Ok(Space::of(store)?.beyond_reserve());
		}
		let plan = self.state.lock().plan;
		if let Some(plan) = plan {
			if self.is_small(&plan) {
				return Ok((self.space)()?.free);
			}
			self.open_or_fail(&plan.recipe)?;
		}
		self.free(bytes.saturating_sub((self.space)()?.beyond_reserve()))?;
		Ok((self.space)()?.beyond_reserve())
	}

	/// Shrinks the plot if other programs took more than an eighth of the reserve, so that a plot that grew
	/// up to the reserve does not shrink for the next small file.
	fn keep_reserve(&self, plan: &Plan) -> io::Result<()> {
		let (space, holds) = ((self.space)()?, self.state.lock().holds);
		let lacking = space.reserve().saturating_sub(space.free);
		if lacking <= space.reserve() / 8 || holds > 0 || self.is_small(plan) {
			return Ok(());
		}
		self.free(lacking)
	}

	/// Returns the number of further groups that fit the disk.
	fn fitting(&self, plan: &Plan) -> io::Result<u32> {
		if self.is_small(plan) {
			return Ok(u32::MAX);
		}
		let groups = (self.space)()?.beyond_reserve() / bytes_on_disk(&plan.recipe);
		Ok(u32::try_from(groups).unwrap_or(u32::MAX))
	}

	/// Logs once if the plan does not fit.
	fn log_shortage(&self, plan: &Plan, fitting: u32) {
		let mut state = self.state.lock();
		if fitting >= plan.groups {
			state.logged_shortage = None;
			return;
		}
		// The space of an order comes back.
		if state.is_rented || state.logged_shortage == Some((*plan, fitting)) {
			return;
		}
		state.logged_shortage = Some((*plan, fitting));
		drop(state);
		let space = (self.space)().unwrap_or_default();
		let bytes = |groups: u32| u64::from(groups) * bytes_on_disk(&plan.recipe);
		tracing::warn!(
			dir = %self.dir.display(),
			"only {} of the {} that the claim plans fit on the plot's disk: it has {} free, of which {} stay free. Free \
			 {} there, move --data-dir to a larger disk, or claim {} GB of disk",
			gigabytes(bytes(fitting)),
			gigabytes(plan.bytes()),
			gigabytes(space.free),
			gigabytes(space.reserve()),
			gigabytes(bytes(plan.groups - fitting)),
			plan.shown(fitting)
		);
	}

	/// Logs once an error that keeps the plot from growing. Growing is tried again.
	fn failed(&self, plan: &Plan, error: &io::Error) {
		let error = error.to_string();
		let mut state = self.state.lock();
		if state.failure.as_ref() == Some(&error) {
			return;
		}
		state.failure = Some(error.clone());
		let groups = state.groups(&plan.recipe);
		drop(state);
		tracing::warn!(
			error,
			dir = %self.dir.display(),
			"the plot cannot grow beyond {} of {}, so the agent proves less disk than it claims",
			gigabytes(u64::from(groups) * bytes_on_disk(&plan.recipe)),
			gigabytes(plan.bytes())
		);
	}
}

/// Returns the memory for making a group: the group, the hashes of its nodes and those above them.
fn memory_of(recipe: &Recipe) -> u64 {
	recipe.group_bytes() / 4 * 5
}

/// Returns the number of groups to make at once with `available` bytes of memory. Half of it stays free, if
/// that is more than one group.
fn in_memory(recipe: &Recipe, threads: usize, available: u64) -> u32 {
	let each = memory_of(recipe);
	let most = (available / 2 / each).max(u64::from(available >= each));
	u32::try_from(most.min(threads as u64)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::{host::disk::GB, trial::disk::Proof};
	use std::{sync::atomic::AtomicU64, time::Instant};
	use tempfile::TempDir;

	const START: [u8; 32] = [2; 32];

	fn recipe(agent: u8) -> Recipe {
		Recipe::new(&[1; 32], &[agent; 32], 1 << 10)
	}

	fn size(groups: u32) -> Size {
		Size { groups, reads: 20 }
	}

	/// A disk of 100 GB, partly used by others, with the plot in `dir`.
	#[derive(Clone)]
	struct Disk {
		dir: Arc<TempDir>,
		others: Arc<AtomicU64>,
	}

	const EACH: u64 = (1 << 18) + (1 << 11) + 32;

	impl Disk {
		fn new() -> Self {
			Self {
				dir: Arc::new(tempfile::tempdir().unwrap()),
				others: Arc::default(),
			}
		}

		/// Leaves space for exactly this number of groups, in addition to the reserve of 20 GB.
		fn leave(&self, groups: u64) {
			let left = 20 * GB + groups * EACH + EACH / 2;
			self.others.store(100 * GB - left, Ordering::SeqCst);
		}

		fn plots(&self) -> Plots {
			let disk = self.clone();
			let space = move || {
				let taken = disk.others.load(Ordering::SeqCst) + plotted_bytes(disk.dir.path());
				Ok(Space {
					free: (100 * GB).saturating_sub(taken),
					total: 100 * GB,
				})
			};
			Plots::with_space(self.dir.path(), space, true).unwrap()
		}
	}

	/// Waits for a condition that depends on another thread.
	fn until(mut holds: impl FnMut() -> bool) {
		let begun = Instant::now();
		while !holds() {
			assert!(begun.elapsed() < Duration::from_secs(60), "it never comes");
			std::thread::sleep(Duration::from_millis(2));
		}
	}

	#[test]
	fn a_plot_grows_to_its_plan_and_goes_on_after_a_restart() {
		let disk = Disk::new();
		assert_eq!(bytes_on_disk(&recipe(5)), EACH);
		let plots = disk.plots();
		let growing = plots.start(Effort::All).unwrap();
		plots.want(recipe(5), 3);
		until(|| plots.ready(&recipe(5)) == 3);
		assert_eq!(plots.ready(&recipe(6)), 0, "nobody wants that one");
		drop(growing);
		// Another process raises the plan, while the agent is down and while it runs.
		write_plan(disk.dir.path(), recipe(5), 4).unwrap();
		let plots = disk.plots();
		let progress = Progress {
			plotted: 3 * EACH,
			wanted: 4 * EACH,
		};
		assert_eq!(plots.ready(&recipe(5)), 3);
		assert_eq!(plots.progress(), progress);
		assert_eq!(whole_bytes(disk.dir.path(), &recipe(5)), 3 * EACH);
		let _growing = plots.start(Effort::Background).unwrap();
		until(|| plots.ready(&recipe(5)) == 4);
		let ready = plots.take(&recipe(5), size(4)).unwrap().unwrap();
		Proof::run(ready, &START, || true).unwrap();
		assert!(plots.take(&recipe(5), size(5)).unwrap().is_none());
		assert!(plots.take(&recipe(6), size(1)).unwrap().is_none());
		assert_eq!(plots.failure(), None);
	}

	#[test]
	fn nothing_grows_while_a_trial_runs_or_an_order_is_served() {
		let disk = Disk::new();
		let plots = disk.plots();
		let _growing = plots.start(Effort::All).unwrap();
		let hold = plots.hold();
		plots.want(recipe(5), 2);
		let grows = || {
			// The thread looks at each change.
			std::thread::sleep(Duration::from_millis(100));
			plots.ready(&recipe(5)) > 0
		};
		assert!(!grows());
		let second = plots.hold();
		drop(hold);
		assert!(!grows(), "another trial");
		plots.rented(true);
		drop(second);
		assert!(!grows(), "an order");
		plots.rented(false);
		until(|| plots.ready(&recipe(5)) == 2);
	}

	#[test]
	fn a_hold_stops_groups_that_are_being_made() {
		let disk = Disk::new();
		let plots = disk.plots();
		let _growing = plots.start(Effort::All).unwrap();
		plots.want(recipe(5), 10_000);
		until(|| plots.ready(&recipe(5)) > 0);
		let hold = plots.hold();
		let held = plots.progress();
		std::thread::sleep(Duration::from_millis(50));
		assert_eq!(plots.progress(), held);
		assert!(held.plotted < held.wanted);
		drop(hold);
		until(|| plots.progress().plotted > held.plotted);
	}

	#[test]
	fn the_disk_keeps_its_reserve_whoever_fills_it() {
		let disk = Disk::new();
		disk.leave(2);
		let plots = disk.plots();
		let growing = plots.start(Effort::All).unwrap();
		plots.want(recipe(5), 5);
		until(|| plots.ready(&recipe(5)) == 2);
		until(|| plots.shortage() == Some(2));
		assert_eq!(plots.fitting(&recipe(5), 5).unwrap(), 2);
		assert_eq!(plots.fitting(&recipe(5), 1).unwrap(), 1);
		drop(growing);
		assert_eq!(plots.ready(&recipe(5)), 2);
		// Others may take a little of the reserve before the plot shrinks.
		let plan = Plan {
			recipe: recipe(5),
			groups: 5,
		};
		let step = || plots.0.step(&plan, 1).map(|_| plots.ready(&recipe(5)));
		disk.others.fetch_add(2 * GB, Ordering::SeqCst);
		assert_eq!(step().unwrap(), 2);
		disk.others.fetch_add(GB, Ordering::SeqCst);
		let hold = plots.hold();
		assert_eq!(step().unwrap(), 2, "a trial reads it");
		drop(hold);
		assert_eq!(step().unwrap(), 0);
	}

	#[test]
	fn a_plot_gives_way_to_an_order_and_comes_back() {
		let disk = Disk::new();
		disk.leave(4);
		let plots = disk.plots();
		let growing = plots.start(Effort::All).unwrap();
		plots.want(recipe(5), 4);
		until(|| plots.ready(&recipe(5)) == 4);
		let ready = plots.take(&recipe(5), size(4)).unwrap().unwrap();
		let again = plots.take(&recipe(5), size(1)).unwrap().unwrap();
		// An order that fits does not shrink the plot; asked again, it gets the same.
		assert_eq!(plots.make_room(7, EACH / 4, None), EACH / 4);
		assert_eq!(plots.ready(&recipe(5)), 4);
		assert_eq!(plots.make_room(8, 2 * EACH, None), 2 * EACH);
		assert_eq!(plots.ready(&recipe(5)), 2);
		disk.others.fetch_add(EACH, Ordering::SeqCst);
		assert_eq!(plots.make_room(8, 2 * EACH, None), 2 * EACH);
		assert_eq!(plots.ready(&recipe(5)), 2, "and it does not grow");
		// A trial that took the plot before cannot read it; another, within the remaining groups, can.
		assert!(Proof::run(ready, &START, || true).is_err());
		assert!(Proof::run(again, &START, || true).is_ok());
		// More than the disk has: all of it except the reserve.
		disk.others.fetch_sub(EACH, Ordering::SeqCst);
		assert_eq!(plots.make_room(9, 9 * EACH, None), 4 * EACH + EACH / 2);
		assert_eq!(plots.ready(&recipe(5)), 0);
		plots.rented(false);
		until(|| plots.ready(&recipe(5)) == 4);
		drop(growing);
		// An engine with its data on another disk.
		let other = Path::new("/dev/shm");
		if other.exists() && !is_shared(other, disk.dir.path()).unwrap() {
			plots.make_room(10, 9 * EACH, Some(other));
			assert_eq!(plots.ready(&recipe(5)), 4);
		}
		plots.make_room(11, EACH, Some(Path::new("/not/here")));
		assert!(plots.ready(&recipe(5)) < 4);
	}

	#[test]
	fn a_small_plot_is_made_at_once_whatever_the_disk_has_left() {
		let dir = tempfile::tempdir().unwrap();
		let full = || {
			Ok(Space {
				free: GB,
				total: 100 * GB,
			})
		};
		let plots = Plots::with_space(dir.path(), full, false).unwrap();
		let _hold = plots.hold();
		plots.want(recipe(5), 1);
		assert_eq!(plots.ready(&recipe(5)), 1);
		assert_eq!(plots.make_room(1, 10 * GB, None), GB);
		assert_eq!(plots.ready(&recipe(5)), 1);
		assert_eq!(plots.failure(), None);
	}

	#[test]
	fn plots_of_others_and_of_the_first_edition_go() {
		let disk = Disk::new();
		let data = disk.dir.path();
		let old = data.join("plot-0123456789abcdef");
		for file in [&old, &data.join("plot-of-a-film"), &data.join("key")] {
			fs::write(file, [0; 100]).unwrap();
		}
		assert_eq!(plotted_bytes(data), 100);
		let plots = disk.plots();
		let names = |dir: &Path| {
			let files = fs::read_dir(dir).unwrap().flatten();
			let mut names: Vec<_> = files
				.map(|file| file.file_name().into_string().unwrap())
				.collect();
			names.sort();
			names
		};
		assert_eq!(names(data), ["key", "plot", "plot-of-a-film"]);
		plots.want(recipe(5), 1);
		plots.0.make_at_once(&Plan {
			recipe: recipe(5),
			groups: 1,
		});
		assert_eq!(plots.ready(&recipe(5)), 1);
		let open = plots.take(&recipe(5), size(1)).unwrap().unwrap();
		plots.want(recipe(6), 1);
		assert_eq!(plots.ready(&recipe(6)), 0);
		let name = recipe(6).name();
		let expected = [
			format!("{name}.plot"),
			format!("{name}.roots"),
			format!("{name}.tree"),
			"plan".into(),
		];
		let mut found = names(&data.join(FOLDER));
		found.sort_by_key(|name| name == PLAN);
		assert_eq!(found, expected);
		// An open trial still reads its groups.
		assert!(Proof::run(open, &START, || true).is_ok());
	}

	#[test]
	fn an_error_of_the_disk_is_kept_until_it_is_mended() {
		let disk = Disk::new();
		let plots = disk.plots();
		let in_the_way = disk
			.dir
			.path()
			.join(FOLDER)
			.join(format!("{}.tree", recipe(5).name()));
		fs::create_dir(&in_the_way).unwrap();
		let growing = plots.start(Effort::All).unwrap();
		plots.want(recipe(5), 1);
		until(|| plots.failure().is_some());
		assert_eq!(plots.ready(&recipe(5)), 0);
		drop(growing);
		fs::remove_dir(&in_the_way).unwrap();
		let _growing = plots.start(Effort::All).unwrap();
		until(|| plots.ready(&recipe(5)) == 1 && plots.failure().is_none());
	}

	#[test]
	fn groups_are_made_within_the_memory_that_is_available() {
		let recipe = Recipe::new(&[1; 32], &[5; 32], crate::trial::plot::GROUP);
		let each = memory_of(&recipe);
		let at_once = |threads, available| in_memory(&recipe, threads, available);
		assert_eq!(at_once(8, each - 1), 0);
		assert_eq!(at_once(8, each), 1);
		assert_eq!(at_once(8, 5 * each), 2);
		assert_eq!(at_once(8, 100 * each), 8);
	}

	#[test]
	fn a_data_folder_is_locked_once() {
		let dir = tempfile::tempdir().unwrap();
		let held = lock(dir.path()).unwrap().unwrap();
		assert!(lock(dir.path()).unwrap().is_none());
		drop(held);
		assert!(lock(dir.path()).unwrap().is_some());
	}

	#[test]
	fn a_restarted_agent_shows_the_same_root() {
		let disk = Disk::new();
		let root = || {
			let plots = disk.plots();
			let plan = Plan {
				recipe: recipe(5),
				groups: 2,
			};
			plots.want(plan.recipe, plan.groups);
			plots.0.make_at_once(&plan);
			let ready = plots.take(&plan.recipe, size(2)).unwrap().unwrap();
			Proof::run(ready, &START, || true).unwrap().root()
		};
		assert_eq!(root(), root());
	}
}
