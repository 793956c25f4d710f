//! The part of CUDA's driver that the agent needs: `libcuda.so.1`, which NVIDIA's driver installs, is loaded
//! if present. Neither building nor running needs the toolkit.

use crate::{
	gpu::{
		backend::lost,
		card::{BusId, Card, Kind, Uuid, Vendor},
	},
	trial::device::DeviceError,
};
use cudarc::driver::sys::{self, CUresult};
use parking_lot::{RwLock, RwLockReadGuard};
use std::{
	ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
	mem::MaybeUninit,
	sync::Arc,
	time::{Duration, Instant},
};

/// Timeout for work queued together, which takes a few seconds on the slowest GPU.
const LONGEST: Duration = Duration::from_secs(60);
/// Time for which a wait polls without sleeping.
const SPIN: Duration = Duration::from_micros(200);
/// Size of the compiler's error log, in bytes.
const LOG: usize = 4_096;

/// Turns the driver's result into an error that says what was being done.
fn check(result: CUresult, doing: &str) -> Result<(), DeviceError> {
	if result == CUresult::CUDA_SUCCESS {
		return Ok(());
	}
	let mut text = std::ptr::null();
	// SAFETY: the driver returns a static text, or none.
	let text = unsafe {
		match sys::cuGetErrorString(result, &mut text) {
			CUresult::CUDA_SUCCESS if !text.is_null() => CStr::from_ptr(text).to_string_lossy(),
			_ => "an unknown error".into(),
		}
	};
	let error = format!("{doing}: {text} (CUDA error {})", result as u32);
	Err(match result {
		CUresult::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::Memory(error),
		_ => lost(error),
	})
}

/// A CUDA version that a driver supports, as 1000 · major + 10 · minor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u32);

impl std::fmt::Display for Version {
	fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
		write!(to, "CUDA {}.{}", self.0 / 1_000, self.0 % 1_000 / 10)
	}
}

/// Returns the driver's version; `None` without a driver or a GPU that it supports.
pub fn version() -> Option<Version> {
	// SAFETY: loads the library, and calls functions that take a number or a place for one.
	unsafe {
		if !sys::is_culib_present() || sys::cuInit(0) != CUresult::CUDA_SUCCESS {
			return None;
		}
		let mut version: c_int = 0;
		check(sys::cuDriverGetVersion(&mut version), "reading its version").ok()?;
		u32::try_from(version).ok().map(Version)
	}
}

/// A GPU that the driver shows.
#[derive(Clone, Debug)]
pub struct Listed {
	/// Its number in the driver.
	pub ordinal: c_int,
	/// Its description.
	pub card: Card,
	/// Its compute capability, as 10 · major + minor.
	pub capability: u32,
	/// Number of its multiprocessors.
	pub multiprocessors: u32,
}

/// Lists the GPUs. Call [`version`] first: it initializes the driver.
pub fn list() -> Result<Vec<Listed>, DeviceError> {
	let mut count = 0;
	// SAFETY: a place for a number.
	check(
		unsafe { sys::cuDeviceGetCount(&mut count) },
		"counting GPUs",
	)?;
	let mut all = Vec::new();
	for ordinal in 0..count {
		match describe(ordinal) {
			Ok(listed) => all.push(listed),
			Err(error) => {
				tracing::warn!(
					ordinal,
					%error,
					"CUDA's driver cannot describe a GPU, which is not used through CUDA. Check it with nvidia-smi and dmesg"
				)
			}
		}
	}
	Ok(all)
}

fn describe(ordinal: c_int) -> Result<Listed, DeviceError> {
	use sys::CUdevice_attribute_enum as Attribute;
	let mut device = 0;
	let mut name = [0 as c_char; 256];
	let mut bus = [0 as c_char; 32];
	let mut uuid: MaybeUninit<sys::CUuuid> = MaybeUninit::zeroed();
	let mut memory = 0;
	let attribute = |which, device| {
		let mut value = 0;
		// SAFETY: a place for a number, and a device from the driver.
		let result = unsafe { sys::cuDeviceGetAttribute(&mut value, which, device) };
		check(result, "describing a GPU")?;
		Ok::<_, DeviceError>(u32::try_from(value).unwrap_or(0))
	};
	// SAFETY: the buffers have the stated sizes, their last byte stays 0, and any bytes are a valid UUID.
	let uuid = unsafe {
		check(sys::cuDeviceGet(&mut device, ordinal), "finding a GPU")?;
		let most = name.len() as c_int - 1;
		check(
			sys::cuDeviceGetName(name.as_mut_ptr(), most, device),
			"reading a GPU's name",
		)?;
		let most = bus.len() as c_int - 1;
		check(
			sys::cuDeviceGetPCIBusId(bus.as_mut_ptr(), most, device),
			"reading a GPU's bus id",
		)?;
		check(
			sys::cuDeviceTotalMem_v2(&mut memory, device),
			"reading a GPU's memory size",
		)?;
		check(
			sys::cuDeviceGetUuid(uuid.as_mut_ptr(), device),
			"reading a GPU's UUID",
		)?;
		uuid.assume_init().bytes.map(|byte| byte as u8)
	};
	let text = |bytes: &[c_char]| {
		let bytes: Vec<u8> = bytes
			.iter()
			.map(|byte| *byte as u8)
			.take_while(|byte| *byte != 0)
			.collect();
		String::from_utf8_lossy(&bytes).into_owned()
	};
	let major = attribute(
		Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
		device,
	)?;
	let minor = attribute(
		Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
		device,
	)?;
	let integrated = attribute(Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED, device)? != 0;
	Ok(Listed {
		ordinal: device,
		card: Card {
			name: text(&name),
			kind: if integrated {
				Kind::Integrated
			} else {
				Kind::Discrete
			},
			vendor: Vendor::Nvidia,
			bus: text(&bus).parse::<BusId>().ok(),
			uuid: Uuid::new(uuid),
			memory: memory as u64,
		},
		capability: 10 * major + minor,
		multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device)?,
	})
}

/// A context that is current on this thread.
struct Entered<'a> {
	stream: sys::CUstream,
	_open: RwLockReadGuard<'a, bool>,
}

/// An open GPU: its context and its stream.
#[derive(Clone)]
pub struct Context(Arc<Opened>);

struct Opened {
	context: sys::CUcontext,
	stream: sys::CUstream,
	/// Set once the context is destroyed, with all its resources. Held for reading during use.
	gone: RwLock<bool>,
}

// SAFETY: the driver's handles may be used by any thread.
unsafe impl Send for Opened {}
// SAFETY: the same.
unsafe impl Sync for Opened {}

impl Opened {
	/// Destroys the context with all its memory, once.
	fn close(&self) {
		if !std::mem::replace(&mut *self.gone.write(), true) {
			// SAFETY: it was created, and is destroyed once. A failure here means that it is lost already.
			unsafe {
				sys::cuCtxDestroy_v2(self.context);
			}
		}
	}
}

impl Drop for Opened {
	fn drop(&mut self) {
		self.close();
	}
}

impl Context {
	/// Opens a GPU.
	pub fn open(device: c_int) -> Result<Self, DeviceError> {
		let (mut context, mut stream) = (std::ptr::null_mut(), std::ptr::null_mut());
		// Waiting threads sleep: in a trial the processors have their own work.
		let flags = sys::CUctx_flags_enum::CU_CTX_SCHED_BLOCKING_SYNC as c_uint;
		// SAFETY: places for handles; the new context becomes current on this thread, so the stream belongs
		// to it.
		unsafe {
			check(
				sys::cuCtxCreate_v2(&mut context, flags, device),
				"opening a GPU",
			)?;
			let apart = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as c_uint;
			let result = sys::cuStreamCreate(&mut stream, apart);
			let opened = Self(Arc::new(Opened {
				context,
				stream,
				gone: RwLock::new(false),
			}));
			check(result, "creating a stream")?;
			Ok(opened)
		}
	}

	/// Closes the GPU with all its memory, even if something still holds a part: after a failure its
	/// contents are useless, and the memory of a window must be free before the GPU can be reopened.
	pub fn close(&self) {
		self.0.close();
	}

	/// Makes the context current on this thread. It stays open until the result is dropped.
	fn enter(&self) -> Result<Entered<'_>, DeviceError> {
		let open = self.0.gone.read_recursive();
		if *open {
			return Err(lost("it was closed after a failure"));
		}
		// SAFETY: it is open.
		let result = unsafe { sys::cuCtxSetCurrent(self.0.context) };
		check(result, "using a GPU")?;
		Ok(Entered {
			stream: self.0.stream,
			_open: open,
		})
	}

	/// Returns the free memory in bytes.
	pub fn free_memory(&self) -> Result<u64, DeviceError> {
		let _open = self.enter()?;
		let (mut free, mut all) = (0, 0);
		// SAFETY: places for numbers.
		check(
			unsafe { sys::cuMemGetInfo_v2(&mut free, &mut all) },
			"reading a GPU's free memory",
		)?;
		Ok(free as u64)
	}

	/// Allocates memory without initializing it.
	pub fn buffer(&self, bytes: u64) -> Result<Buffer, DeviceError> {
		let _open = self.enter()?;
		let mut at = 0;
		let size = usize::try_from(bytes).map_err(lost)?;
		// SAFETY: a place for an address.
		check(
			unsafe { sys::cuMemAlloc_v2(&mut at, size) },
			"allocating memory on a GPU",
		)?;
		Ok(Buffer {
			at,
			bytes,
			context: self.clone(),
		})
	}

	/// Allocates memory that is zeroed after the queued work.
	pub fn zeros(&self, bytes: u64) -> Result<Buffer, DeviceError> {
		let buffer = self.buffer(bytes)?;
		let entered = self.enter()?;
		// SAFETY: all of the buffer.
		let result = unsafe { sys::cuMemsetD8Async(buffer.at, 0, bytes as usize, entered.stream) };
		check(result, "clearing memory of a GPU")?;
		Ok(buffer)
	}

	/// Copies bytes to the GPU, after the queued work.
	pub fn write(&self, to: Place, bytes: &[u8]) -> Result<(), DeviceError> {
		let to = to.holding(bytes.len() as u64)?;
		let entered = self.enter()?;
		// SAFETY: there is room for them. The driver has taken them when the call returns, since their
		// memory is not pinned.
		let result = unsafe {
			sys::cuMemcpyHtoDAsync_v2(to, bytes.as_ptr().cast(), bytes.len(), entered.stream)
		};
		check(result, "copying to a GPU")
	}

	/// Copies bytes back once the queued work is done.
	pub fn read(&self, from: Place, bytes: u64) -> Result<Vec<u8>, DeviceError> {
		let from = from.holding(bytes)?;
		self.wait()?;
		let _open = self.enter()?;
		let mut out = vec![0; usize::try_from(bytes).map_err(lost)?];
		// SAFETY: both ranges have that many bytes.
		check(
			unsafe { sys::cuMemcpyDtoH_v2(out.as_mut_ptr().cast(), from, out.len()) },
			"copying from a GPU",
		)?;
		Ok(out)
	}

	/// Copies within the GPU's memory, after the queued work.
	pub fn copy(&self, from: Place, to: Place, bytes: u64) -> Result<(), DeviceError> {
		let (from, to) = (from.holding(bytes)?, to.holding(bytes)?);
		let entered = self.enter()?;
		// SAFETY: both ranges have that many bytes.
		check(
			unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes as usize, entered.stream) },
			"copying on a GPU",
		)
	}

	/// Waits until all work is done. A driver that hangs counts as a lost GPU.
	pub fn wait(&self) -> Result<(), DeviceError> {
		let start = Instant::now();
		loop {
			let entered = self.enter()?;
			// SAFETY: the stream is open.
			let result = unsafe { sys::cuStreamQuery(entered.stream) };
			drop(entered);
			match result {
				CUresult::CUDA_ERROR_NOT_READY if start.elapsed() > LONGEST => {
					return Err(lost(format!(
						"its queued work did not finish within {} s: the driver hangs",
						LONGEST.as_secs()
					)));
				}
				CUresult::CUDA_ERROR_NOT_READY if start.elapsed() > SPIN => {
					std::thread::sleep(SPIN / 2);
				}
				CUresult::CUDA_ERROR_NOT_READY => std::thread::yield_now(),
				result => return check(result, "running its work"),
			}
		}
	}

	/// Returns the time that work takes on the GPU, from the end of the queued work to its own end.
	pub fn timed(
		&self,
		work: impl FnOnce() -> Result<(), DeviceError>,
	) -> Result<Duration, DeviceError> {
		let (from, to) = (Event::new(self)?, Event::new(self)?);
		from.record()?;
		work()?;
		to.record()?;
		self.wait()?;
		let _open = self.enter()?;
		let mut ms = 0.0;
		// SAFETY: both were recorded and have passed.
		check(
			unsafe { sys::cuEventElapsedTime(&mut ms, from.raw, to.raw) },
			"timing a GPU's work",
		)?;
		Ok(Duration::from_secs_f64(f64::from(ms.max(0.0)) / 1e3))
	}

	/// Compiles PTX for the GPU.
	pub fn module(&self, ptx: &str) -> Result<Module, DeviceError> {
		use sys::CUjit_option_enum as Option;
		let _open = self.enter()?;
		let text = CString::new(ptx).map_err(lost)?;
		let mut log = [0u8; LOG];
		let mut options = [
			Option::CU_JIT_ERROR_LOG_BUFFER,
			Option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
		];
		let mut values = [log.as_mut_ptr().cast::<c_void>(), LOG as *mut c_void];
		let mut raw = std::ptr::null_mut();
		// SAFETY: the text ends with 0, the log has the stated size, and there are two options.
		let result = unsafe {
			sys::cuModuleLoadDataEx(
				&mut raw,
				text.as_ptr().cast(),
				options.len() as c_uint,
				options.as_mut_ptr(),
				values.as_mut_ptr(),
			)
		};
		let end = log.iter().position(|byte| *byte == 0).unwrap_or(0);
		let said = String::from_utf8_lossy(&log[..end])
			.trim()
			.replace('\n', "; ");
		let doing = match said.is_empty() {
			true => "compiling a kernel".to_owned(),
			false => format!("compiling a kernel ({said})"),
		};
		check(result, &doing)?;
		Ok(Module(Arc::new(Loaded {
			raw,
			context: self.clone(),
		})))
	}
}

/// An event in the stream.
struct Event<'a> {
	raw: sys::CUevent,
	context: &'a Context,
}

impl<'a> Event<'a> {
	fn new(context: &'a Context) -> Result<Self, DeviceError> {
		let _open = context.enter()?;
		let mut raw = std::ptr::null_mut();
		let flags = sys::CUevent_flags_enum::CU_EVENT_DEFAULT as c_uint;
		// SAFETY: a place for a handle.
		check(
			unsafe { sys::cuEventCreate(&mut raw, flags) },
			"creating an event",
		)?;
		Ok(Self { raw, context })
	}

	fn record(&self) -> Result<(), DeviceError> {
		let entered = self.context.enter()?;
		// SAFETY: the event and the stream are open.
		check(
			unsafe { sys::cuEventRecord(self.raw, entered.stream) },
			"timing a GPU's work",
		)
	}
}

impl Drop for Event<'_> {
	fn drop(&mut self) {
		if let Ok(_open) = self.context.enter() {
			// SAFETY: it was created in this context, and is destroyed once.
			unsafe {
				sys::cuEventDestroy_v2(self.raw);
			}
		}
	}
}

/// A buffer in a GPU's memory.
pub struct Buffer {
	at: sys::CUdeviceptr,
	bytes: u64,
	context: Context,
}

impl Buffer {
	/// Returns the place of its first byte.
	pub fn start(&self) -> Place {
		self.at(0)
	}

	/// Returns the place of one of its bytes.
	pub fn at(&self, byte: u64) -> Place {
		Place {
			at: self.at + byte.min(self.bytes),
			room: self.bytes.saturating_sub(byte),
		}
	}
}

impl Drop for Buffer {
	fn drop(&mut self) {
		if let Ok(_open) = self.context.enter() {
			// SAFETY: it was allocated in this context, which still exists, and is freed once.
			unsafe {
				sys::cuMemFree_v2(self.at);
			}
		}
	}
}

/// An address in a GPU's memory, and the number of bytes that follow it in its buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
	at: sys::CUdeviceptr,
	room: u64,
}

impl Place {
	/// Returns the address if that many bytes follow.
	fn holding(self, bytes: u64) -> Result<sys::CUdeviceptr, DeviceError> {
		match bytes <= self.room {
			true => Ok(self.at),
			false => Err(lost(format!(
				"a buffer has {} bytes, and {bytes} are needed: a bug",
				self.room
			))),
		}
	}

	/// Returns the address.
	pub fn address(self) -> u64 {
		self.at
	}
}

/// Compiled kernels.
#[derive(Clone)]
pub struct Module(Arc<Loaded>);

struct Loaded {
	raw: sys::CUmodule,
	context: Context,
}

// SAFETY: the driver's handles may be used by any thread.
unsafe impl Send for Loaded {}
// SAFETY: the same.
unsafe impl Sync for Loaded {}

impl Drop for Loaded {
	fn drop(&mut self) {
		if let Ok(_open) = self.context.enter() {
			// SAFETY: it was loaded in this context, and is unloaded once: its kernels keep it loaded.
			unsafe {
				sys::cuModuleUnload(self.raw);
			}
		}
	}
}

/// The moment at which a kernel starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
	/// When all work before it is done.
	After,
	/// When the previous kernel permits: the kernel itself waits for the data it needs.
	Early,
}

/// A kernel.
pub struct Kernel {
	raw: sys::CUfunction,
	module: Module,
	threads: u32,
	shared: u32,
}

// SAFETY: the driver's handles may be used by any thread.
unsafe impl Send for Kernel {}
// SAFETY: the same.
unsafe impl Sync for Kernel {}

impl Module {
	/// Finds a kernel by name, for blocks of `threads` threads and `shared` bytes of shared memory.
	pub fn kernel(&self, name: &str, threads: u32, shared: u32) -> Result<Kernel, DeviceError> {
		use sys::CUfunction_attribute_enum as Attribute;
		let context = &self.0.context;
		let _open = context.enter()?;
		let named = CString::new(name).map_err(lost)?;
		let mut raw = std::ptr::null_mut();
		let mut fit = 0;
		// SAFETY: places for a handle and for a number, a text that ends with 0, and a kernel that was
		// found.
		unsafe {
			let result = sys::cuModuleGetFunction(&mut raw, self.0.raw, named.as_ptr());
			check(result, "finding a kernel")?;
			if shared > 0 {
				let most = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
				let result = sys::cuFuncSetAttribute(raw, most, shared as c_int);
				check(result, "setting a kernel's shared memory")?;
				// All of it: a tree runs beside a product only if both fit, and the driver gives the rest to
				// caches.
				let part = Attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
				check(
					sys::cuFuncSetAttribute(raw, part, 100),
					"setting a kernel's shared memory",
				)?;
			}
			let result = sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(
				&mut fit,
				raw,
				threads as c_int,
				shared as usize,
			);
			check(result, "computing a kernel's occupancy")?;
		}
		if fit < 1 {
			return Err(lost(format!(
				"a multiprocessor has no room for a block of {name}: {threads} threads, {shared} bytes of shared memory"
			)));
		}
		Ok(Kernel {
			raw,
			module: self.clone(),
			threads,
			shared,
		})
	}
}

impl Kernel {
	/// Launches `blocks` blocks with these parameters.
	///
	/// # Safety
	///
	/// The parameters must be those of the kernel, and the memory they point to must be valid for its reads
	/// and writes until its work is done.
	pub unsafe fn run(
		&self,
		blocks: u32,
		begin: Begin,
		params: &mut [*mut c_void],
	) -> Result<(), DeviceError> {
		let entered = self.module.0.context.enter()?;
		if begin == Begin::After {
			// SAFETY: the caller's promise.
			let result = unsafe {
				sys::cuLaunchKernel(
					self.raw,
					blocks,
					1,
					1,
					self.threads,
					1,
					1,
					self.shared,
					entered.stream,
					params.as_mut_ptr(),
					std::ptr::null_mut(),
				)
			};
			return check(result, "launching a kernel");
		}
		let mut early = sys::CUlaunchAttribute {
			id:
				sys::CUlaunchAttributeID_enum::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
			pad: [0; 4],
			value: sys::CUlaunchAttributeValue {
				programmaticStreamSerializationAllowed: 1,
			},
		};
		let config = sys::CUlaunchConfig {
			gridDimX: blocks,
			gridDimY: 1,
			gridDimZ: 1,
			blockDimX: self.threads,
			blockDimY: 1,
			blockDimZ: 1,
			sharedMemBytes: self.shared,
			hStream: entered.stream,
			attrs: &mut early,
			numAttrs: 1,
		};
		// SAFETY: the caller's promise.
		let result = unsafe {
			sys::cuLaunchKernelEx(&config, self.raw, params.as_mut_ptr(), std::ptr::null_mut())
		};
		check(result, "launching a kernel")
	}
}

/// A tensor map: describes a matrix so that Hopper can copy boxes of it.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
pub struct Map(sys::CUtensorMap);

impl Map {
	/// Describes bytes at a place: `sizes` of the dimensions, the first of which is contiguous; `strides` in
	/// bytes of the others; `boxed`, the size of a box. Rows of 128 bytes are swizzled for the matrix units.
	pub fn new(
		at: Place,
		sizes: &[u64],
		strides: &[u64],
		boxed: &[u32],
	) -> Result<Self, DeviceError> {
		let of_all = strides
			.iter()
			.zip(&sizes[1..])
			.map(|(stride, size)| stride * size);
		let at = at.holding(of_all.max().unwrap_or(sizes[0]))?;
		let steps = vec![1; sizes.len()];
		let mut map: MaybeUninit<sys::CUtensorMap> = MaybeUninit::zeroed();
		// SAFETY: there are as many sizes as stated, and one stride fewer; the driver checks their values.
		unsafe {
			let result = sys::cuTensorMapEncodeTiled(
				map.as_mut_ptr(),
				sys::CUtensorMapDataType_enum::CU_TENSOR_MAP_DATA_TYPE_UINT8,
				sizes.len() as u32,
				at as *mut c_void,
				sizes.as_ptr(),
				strides.as_ptr(),
				boxed.as_ptr(),
				steps.as_ptr(),
				sys::CUtensorMapInterleave_enum::CU_TENSOR_MAP_INTERLEAVE_NONE,
				sys::CUtensorMapSwizzle_enum::CU_TENSOR_MAP_SWIZZLE_128B,
				sys::CUtensorMapL2promotion_enum::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
				sys::CUtensorMapFloatOOBfill_enum::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
			);
			check(result, "encoding a tensor map")?;
			Ok(Self(map.assume_init()))
		}
	}

	/// Returns it as a kernel's parameter.
	pub fn param(&mut self) -> *mut c_void {
		(&raw mut self.0).cast()
	}
}
