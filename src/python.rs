//! The extension module `pye._native`: converts between Python's objects and [`crate::runtime`]. What it offers is described for
//! Python in `python/pye/_native.pyi`.
//!
//! It works in the first main interpreter of a process and in no other: sub-interpreters, and interpreters that are started after one has
//! ended, cannot import it, and so import everything as usual.
//!
//! No lock is held while Python code may run: unmarshalling can start a garbage collection, or call an audit hook, which can import.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use pyo3::exceptions::{PyImportError, PyMemoryError, PyOSError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyString, PyTuple, PyWeakrefMethods, PyWeakrefReference};

use crate::blob::{Kind, may_stay_mapped};
use crate::cpython::constants::{self, Exchange, Nonce};
use crate::cpython::interned;
use crate::cpython::life;
use crate::cpython::live::{Live, Names, SETTLE, Wanted};
use crate::cpython::own::Own;
use crate::cpython::snapshot::Objects;
use crate::cpython::text::{self, MappedText, Texts};
use crate::holes::Blob;
use crate::image::{MAPPED, Relocate};
use crate::pye::read::Pye;
use crate::pye::{Part, payload};
use crate::runtime::Reason;
use crate::runtime::staged::Scratch;
use crate::runtime::store::{Answer, CheckHashes, Found, Store, Target};
use crate::runtime::trust::Identity;
use crate::split::Mark;

mod build;
mod cache;

/// A buffer larger than this is not kept from one module to the next.
const KEPT_BUFFER: usize = 128 << 10;

/// The stores of this process.
#[pyclass(frozen, module = "pye._native")]
struct Packages {
    inner: Mutex<Inner>,
    target: Target,
    identity: Identity,
    nonce: Nonce,
    /// What the portable form needs to know, once something is loaded in it.
    layout: OnceLock<constants::Layout>,
    /// `sys.hexversion`.
    hexversion: u32,
    /// Modules that are being executed, one in the other or in several threads.
    depth: AtomicUsize,
    loads: Py<PyAny>,
    fix_filename: Py<PyAny>,
    exec: Py<PyAny>,
    /// `importlib._bootstrap._call_with_frames_removed`: its name tells where tracebacks are cut.
    call_with_frames_removed: Py<PyAny>,
    /// `SourceFileLoader.get_code`.
    stock_get_code: Py<PyAny>,
}

/// What the loaders of `_finder.py` inherit. Native, so that it leaves no frame in tracebacks, which are those of the stock import.
#[pyclass(frozen, subclass, module = "pye._native")]
struct LoaderBase;

#[pymethods]
impl LoaderBase {
    #[new]
    #[pyo3(signature = (*_arguments))]
    fn new(_arguments: &Bound<'_, PyTuple>) -> Self {
        LoaderBase
    }

    /// As `SourceLoader.exec_module`. When the outermost import has ended, the files' pages are given back.
    fn exec_module(slf: &Bound<'_, Self>, module: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let name = module.getattr(intern!(py, "__name__"))?;
        let packages = slf.getattr(intern!(py, "_packages"))?.cast_into::<Packages>()?;
        let packages = packages.get();
        packages.depth.fetch_add(1, Ordering::Relaxed);
        let run = || {
            let code = slf.call_method1(intern!(py, "get_code"), (&name,))?;
            if code.is_none() {
                let message = format!("cannot load module {} when get_code() returns None", name.repr()?);
                return Err(PyImportError::new_err(message));
            }
            let namespace = module.getattr(intern!(py, "__dict__"))?;
            packages.call_with_frames_removed.bind(py).call1((&packages.exec, code, namespace))?;
            Ok(())
        };
        let done = run();
        if packages.depth.fetch_sub(1, Ordering::Relaxed) == 1 {
            packages.with(|inner| {
                inner.stores.iter_mut().for_each(Store::settle);
                inner.images().for_each(Live::settle);
                inner.settle_own(SETTLE);
            });
        }
        done
    }

    /// As `SourceFileLoader.get_code`, with the code from the store where that can be.
    fn get_code<'py>(slf: &Bound<'py, Self>, fullname: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let packages = slf.getattr(intern!(py, "_packages"))?.cast_into::<Packages>()?;
        let packages = packages.get();
        let spec = slf.getattr(intern!(py, "_found"))?;
        slf.setattr(intern!(py, "_found"), py.None())?;
        if fullname.eq(slf.getattr(intern!(py, "name"))?)? {
            // While the import that found it is under way the source need not be looked at again.
            let fresh = match spec.getattr_opt(intern!(py, "_initializing"))? {
                Some(initializing) => initializing.is_truthy()?,
                None => false,
            };
            let store = slf.getattr(intern!(py, "_store"))?.extract()?;
            let number = slf.getattr(intern!(py, "_number"))?.extract()?;
            let path = slf.getattr(intern!(py, "path"))?.cast_into::<PyString>()?;
            if let Some(code) = packages.load(py, store, number, &path, fresh)? {
                return Ok(code);
            }
        }
        packages.stock_get_code.bind(py).call1((slf, fullname))
    }
}

/// The image of a store.
enum Form {
    /// It has none, or none is wanted.
    None,
    /// Why it is not used.
    Refused(String),
    /// In use.
    Mapped(Box<Live>),
}

struct Inner {
    stores: Vec<Store>,
    /// Their images.
    forms: Vec<Form>,
    texts: Option<Texts>,
    scratch: Scratch,
    /// Modules that were loaded with placeholders, texts put in their places, modules that had to be loaded whole.
    counts: [u64; 3],
    /// This library, once its pages are to be given back; and modules loaded until that was last done.
    own: Option<Own>,
    settled: u64,
}

impl Inner {
    /// The stores that stand for a directory or file, their numbers, and what is left of the path below their root. They are those with the innermost root, since site-packages
    /// lies inside the standard library's directory; more than one where distributions have packages of their own.
    fn covering<'d>(&mut self, place: &'d str) -> impl Iterator<Item = (usize, &mut Store, &'d str)> {
        let innermost = self.stores.iter().filter_map(|store| Some(store.covers(place)?.len())).min();
        let stores = self.stores.iter_mut().enumerate();
        let covering = stores.filter_map(move |(i, store)| store.covers(place).map(|relative| (i, store, relative)));
        covering.filter(move |(_, _, relative)| Some(relative.len()) == innermost)
    }

    /// Gives this library's own pages back if so many modules were loaded since that was last done.
    fn settle_own(&mut self, least: u64) {
        let loaded = self.stores.iter().map(|store| store.loaded).sum();
        if loaded >= self.settled + least {
            self.settled = loaded;
            self.own.get_or_insert_with(Own::find).give_back();
        }
    }

    /// The images in use.
    fn images(&mut self) -> impl Iterator<Item = &mut Live> {
        self.forms.iter_mut().filter_map(|form| match form {
            Form::Mapped(live) => Some(&mut **live),
            _ => None,
        })
    }
}

type FoundTuple = (usize, usize, bool, String, Option<String>);

impl Packages {
    fn with<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        // A panic with the lock held would have left consistent counters at worst.
        f(&mut self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

fn found_tuple(store: usize, found: Found) -> FoundTuple {
    (store, found.number, found.package, found.origin, found.cached)
}

#[pymethods]
impl Packages {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let imp = py.import("_imp")?;
        let sys = py.import("sys")?;
        let external = py.import("_frozen_importlib_external")?;
        let version = py.version_info();
        let check: String = imp.getattr("check_hash_based_pycs")?.extract()?;
        let magic: Vec<u8> = external.getattr("MAGIC_NUMBER")?.extract()?;
        let level: u8 = sys.getattr("flags")?.getattr("optimize")?.extract()?;
        let target = Target {
            python: (version.major, version.minor),
            magic: magic.try_into().map_err(|_| PyImportError::new_err("the magic number is not of four bytes"))?,
            optimization: level,
            tag: sys.getattr("implementation")?.getattr("cache_tag")?.extract()?,
            suffixes: imp.getattr("extension_suffixes")?.call0()?.extract()?,
            check: match check.as_str() {
                "always" => CheckHashes::Always,
                "never" => CheckHashes::Never,
                _ => CheckHashes::Default,
            },
        };
        let identity = Identity::of_process().map_err(|e| PyOSError::new_err(e.to_string()))?;
        Ok(Packages {
            inner: Mutex::new(Inner {
                stores: Vec::new(),
                forms: Vec::new(),
                texts: None,
                scratch: Scratch::default(),
                counts: [0; 3],
                own: None,
                settled: 0,
            }),
            target,
            identity,
            nonce: Nonce::new(RandomState::new().build_hasher().finish()),
            layout: OnceLock::new(),
            hexversion: sys.getattr("hexversion")?.extract()?,
            loads: py.import("marshal")?.getattr("loads")?.unbind(),
            fix_filename: imp.getattr("_fix_co_filename")?.unbind(),
            depth: AtomicUsize::new(0),
            exec: py.import("builtins")?.getattr("exec")?.unbind(),
            call_with_frames_removed: py.import("_frozen_importlib")?.getattr("_call_with_frames_removed")?.unbind(),
            stock_get_code: external.getattr("SourceFileLoader")?.getattr("get_code")?.unbind(),
        })
    }

    fn open(
        &self,
        py: Python<'_>,
        root: Option<&str>,
        path: &str,
        candidates: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let refuse = |e: crate::error::Error| PyOSError::new_err(e.to_string());
        let mut store = Store::open(root, Path::new(path), self.identity).map_err(refuse)?;
        if root.is_none() {
            // Of what is on `sys.path`, what is text, and UTF-8.
            let candidates: Vec<String> = candidates.iter().filter_map(|entry| entry.extract().ok()).collect();
            store.find_root(&candidates).map_err(refuse)?;
        }
        let root = store.root.clone();
        let form = self.form(py, &mut store);
        if !matches!(form, Form::Mapped(_)) {
            self.portable(py)?;
        }
        // At the end: loaders go by a store's number.
        self.with(|inner| {
            inner.stores.push(store);
            inner.forms.push(form);
        });
        Ok(root)
    }

    fn find<'py>(&self, py: Python<'py>, directory: &str, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let answer = self.with(|inner| {
            let mut answers =
                inner.covering(directory).map(|(i, store, relative)| (i, store.find(relative, name, &self.target)));
            answers.find(|(_, answer)| !matches!(answer, Answer::Ask))
        });
        Ok(match answer {
            Some((store, Answer::Found(found))) => Some(found_tuple(store, found).into_pyobject(py)?.into_any()),
            Some((_, Answer::Extension(file))) => Some(PyString::new(py, &file).into_any()),
            Some((_, Answer::Absent)) => Some(PyBool::new(py, false).to_owned().into_any()),
            Some((_, Answer::Ask)) | None => None,
        })
    }

    fn supply(&self, origin: &str) -> Option<FoundTuple> {
        self.with(|inner| {
            inner.covering(origin).find_map(|(i, store, _)| {
                let found = store.supply(origin, &self.target, self.identity).ok().flatten()?;
                Some(found_tuple(i, found))
            })
        })
    }

    fn load<'py>(
        &self,
        py: Python<'py>,
        store: usize,
        number: usize,
        origin: &Bound<'py, PyString>,
        fresh: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !fresh {
            let origin = origin.to_cow()?;
            let checked = self.with(|inner| inner.stores[store].check(number, &origin, &self.target));
            if checked.is_err() {
                return Ok(None);
            }
        }
        if let Some(code) = self.load_image(py, store, number, origin) {
            return Ok(Some(code));
        }
        let Ok(layout) = self.portable(py) else {
            self.with(|inner| inner.stores[store].note(Reason::Unmarshal));
            return Ok(None);
        };
        let loaded = match self.load_mapped(py, *layout, store, number, origin)? {
            Ok(Some(code)) => Ok(code),
            // Some text stands where no other object may be put.
            Ok(None) => self.load_whole(py, store, number, origin)?,
            Err(reason) => Err(reason),
        };
        Ok(match loaded {
            Ok(code) => {
                self.with(|inner| inner.stores[store].loaded += 1);
                Some(code)
            }
            Err(reason) => {
                self.with(|inner| inner.stores[store].note(reason));
                None
            }
        })
    }

    fn invalidate(&self) {
        self.with(|inner| inner.stores.iter_mut().for_each(Store::invalidate));
    }

    /// Has what the interpreter would free at its end kept. To be called once.
    fn keep_at_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let packages = slf.clone().unbind();
        life::at_end(slf.py(), move |py| {
            packages.get().with(|inner| {
                if let Some(texts) = &mut inner.texts {
                    texts.before_finalization(py);
                }
                inner.images().for_each(Live::before_finalization);
            });
            // What it refers to would be freed when the allocator is no longer what it was; the process, or a later life of Python, has no use for it.
            std::mem::forget(packages);
        })
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let status = PyDict::new(py);
        // Copied first: what makes a Python object may run Python code, an import for one, which waits for the lock.
        let plain: Vec<_> = self.with(|inner| {
            let row = |store: &Store| {
                let numbers = [
                    ("modules", store.modules() as u64),
                    ("mapped_bytes", store.mapped_bytes()),
                    ("loaded", store.loaded),
                    ("directories_changed", store.changed()),
                ];
                (store.root.clone(), store.path.clone(), numbers, store.fallbacks)
            };
            inner.stores.iter().map(row).zip(inner.forms.iter().map(ImageStatus::of)).collect()
        });
        let stores = plain.into_iter().map(|((root, path, numbers, fallbacks), image)| {
            let row = PyDict::new(py);
            row.set_item("root", root)?;
            // As a `str`; a `Path` would become a `pathlib.Path`.
            row.set_item("path", path.as_os_str())?;
            for (name, number) in numbers {
                row.set_item(name, number)?;
            }
            let reasons = PyDict::new(py);
            for reason in Reason::ALL {
                let count = fallbacks[reason as usize];
                if count != 0 {
                    reasons.set_item(reason.text(), count)?;
                }
            }
            row.set_item("fallbacks", reasons)?;
            row.set_item("image", image.map(|image| image.dict(py)).transpose()?)?;
            Ok(row)
        });
        let stores = stores.collect::<PyResult<Vec<_>>>()?;
        let ((headers, header_bytes), counts) =
            self.with(|inner| (inner.texts.as_ref().map_or((0, 0), Texts::usage), inner.counts));
        status.set_item("stores", stores)?;
        status.set_item("mapped_texts", headers)?;
        status.set_item("mapped_text_header_bytes", header_bytes)?;
        status.set_item("modules_with_mapped_text", counts[0])?;
        status.set_item("texts_placed", counts[1])?;
        status.set_item("modules_loaded_whole", counts[2])?;
        Ok(status)
    }
}

/// A handler for `os.register_at_fork`: has the finder open what waits, and makes images ready, so that children share it.
///
/// Handlers live until the interpreter's last steps. One that kept the finder would keep all that its module refers to, and eleven more modules of the library would have
/// to be cleared, name by name, at each end.
#[pyclass(frozen, module = "pye._native")]
struct BeforeFork {
    packages: Py<Packages>,
    finder: Py<PyWeakrefReference>,
}

#[pymethods]
impl BeforeFork {
    #[new]
    fn new(packages: Py<Packages>, finder: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(BeforeFork { packages, finder: PyWeakrefReference::new(finder)?.unbind() })
    }

    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(finder) = self.finder.bind(py).upgrade() {
            finder.call_method0(intern!(py, "open_for"))?;
        }
        self.packages.get().before_fork(py);
        Ok(())
    }
}

/// What is told of an image.
struct ImageStatus {
    state: String,
    base: Option<u64>,
    relocation: &'static str,
    profiled: bool,
    modules: u64,
    loaded: u64,
}

impl ImageStatus {
    fn of(form: &Form) -> Option<ImageStatus> {
        Some(match form {
            Form::None => return None,
            Form::Refused(reason) => ImageStatus {
                state: reason.clone(),
                base: None,
                relocation: "none",
                profiled: false,
                modules: 0,
                loaded: 0,
            },
            Form::Mapped(live) => ImageStatus {
                state: MAPPED.into(),
                base: Some(live.base()),
                relocation: match live.relocate() {
                    _ if !live.relocated() => "none",
                    relocate => relocate.name(),
                },
                profiled: live.profiled(),
                modules: live.modules() as u64,
                loaded: live.loaded,
            },
        })
    }

    fn dict(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("state", self.state)?;
        dict.set_item("base", self.base)?;
        dict.set_item("relocation", self.relocation)?;
        dict.set_item("profiled", self.profiled)?;
        dict.set_item("modules", self.modules)?;
        dict.set_item("loaded", self.loaded)?;
        Ok(dict)
    }
}

impl Packages {
    /// Makes images ready for children.
    fn before_fork(&self, py: Python<'_>) {
        let importing = self.with(|inner| {
            if inner.images().next().is_none() {
                return false;
            }
            let [mut ready, mut importing] = [false; 2];
            for live in inner.images() {
                let done = live.before_fork();
                ready |= done.is_some();
                importing |= done == Some(true);
            }
            inner.stores.iter_mut().for_each(Store::give_back);
            inner.settle_own(u64::from(!ready));
            importing
        });
        if importing {
            interned::make_room(py);
        }
    }

    /// Maps the image of a store that has just been opened.
    fn form(&self, py: Python<'_>, store: &mut Store) -> Form {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let Some((pye, file)) = store.package().filter(|(pye, _)| !pye.part(Part::Image as usize).is_empty()) else {
            return Form::None;
        };
        if variable("PYE_IMAGE") == "0" {
            return Form::Refused("switched off by PYE_IMAGE=0".into());
        }
        let objects = match Objects::of_process(py) {
            Ok(objects) => objects,
            Err(error) => return Form::Refused(error.to_string()),
        };
        let wanted = Wanted {
            relocate: Relocate::by_name(&variable("PYE_RELOCATE")),
            names: match variable("PYE_NAMES").as_str() {
                "leave" => Some(Names::Leave),
                "intern" => Some(Names::Intern),
                _ => None,
            },
            hexversion: self.hexversion,
        };
        match Live::attach(py, pye, &file, &store.root, objects, wanted) {
            Ok(Some(live)) => Form::Mapped(Box::new(live)),
            Ok(None) => Form::None,
            Err(reason) => Form::Refused(reason),
        }
    }

    /// A module's code from the image of its package.
    fn load_image<'py>(
        &self,
        py: Python<'py>,
        store: usize,
        number: usize,
        origin: &Bound<'py, PyString>,
    ) -> Option<Bound<'py, PyAny>> {
        let record = u32::try_from(number).ok()?;
        let begun = self.with(|inner| {
            let Form::Mapped(live) = &mut inner.forms[store] else { return None };
            let begun = live.begin(record, origin);
            match &begun {
                Ok(_) => inner.stores[store].looked_up(),
                Err(_) => inner.stores[store].note(Reason::Image),
            }
            begun.ok().flatten()
        })?;
        // Whatever an audit hook objects to, it will say again of the portable form.
        let made = begun.make(self.loads.bind(py)).ok()?;
        self.with(|inner| {
            let Form::Mapped(live) = &mut inner.forms[store] else { return None };
            let code = live.code(py, &begun, &made);
            inner.stores[store].loaded += u64::from(code.is_some());
            code
        })
    }

    /// What the portable form needs: read off the interpreter when it is first asked for.
    ///
    /// # Errors
    /// Objects are not laid out as expected.
    fn portable(&self, py: Python<'_>) -> PyResult<&constants::Layout> {
        if let Some(layout) = self.layout.get() {
            return Ok(layout);
        }
        let texts = Texts::new(text::Layout::probe(py)?);
        let layout = constants::Layout::probe(py)?;
        self.with(|inner| inner.texts.get_or_insert(texts).usage());
        Ok(self.layout.get_or_init(|| layout))
    }

    /// A module's code with its long text mapped; nothing when that cannot be done.
    fn load_mapped<'py>(
        &self,
        py: Python<'py>,
        layout: constants::Layout,
        store: usize,
        number: usize,
        origin: &Bound<'py, PyString>,
    ) -> PyResult<Result<Option<Bound<'py, PyAny>>, Reason>> {
        let mut found = Vec::new();
        let accept = |texts: &mut Option<Texts>, pye, mark: &Mark, payload: &[u8]| {
            let text = mapped(pye, &mark.blob, payload).and_then(|text| texts.as_mut()?.get(text, py));
            let accepted = text.is_some();
            found.extend(text);
            accepted
        };
        let (code, most) = match self.unmarshal(py, store, number, accept) {
            Ok(unmarshalled) => unmarshalled,
            Err(reason) => return Ok(Err(reason)),
        };
        let count = found.len() as u64;
        if count == 0 {
            self.fix_filename.bind(py).call1((&code, origin))?;
            return Ok(Ok(Some(code)));
        }
        let mut exchange = Exchange::new(py, layout, self.nonce, found);
        let name = code.getattr(intern!(py, "co_filename"))?;
        // In the stock import system a source's code bears the name it was found under, whatever stood in the `.pyc`.
        self.fix_filename.bind(py).call1((&code, origin))?;
        if let Some(number) = exchange.number(&name) {
            exchange.met(number, name);
        }
        if !exchange.run(&code, most) || !exchange.leftover().is_empty() {
            return Ok(Ok(None));
        }
        self.with(|inner| {
            inner.counts[0] += 1;
            inner.counts[1] += count;
        });
        Ok(Ok(Some(code)))
    }

    /// A module's code, as from its `.pyc`.
    fn load_whole<'py>(
        &self,
        py: Python<'py>,
        store: usize,
        number: usize,
        origin: &Bound<'py, PyString>,
    ) -> PyResult<Result<Bound<'py, PyAny>, Reason>> {
        self.with(|inner| inner.counts[2] += 1);
        let code = match self.unmarshal(py, store, number, |_, _, _, _| false) {
            Ok((code, _)) => code,
            Err(reason) => return Ok(Err(reason)),
        };
        self.fix_filename.bind(py).call1((&code, origin))?;
        Ok(Ok(code))
    }

    /// Unmarshals a module, with placeholders for the texts that `accept` takes, and says how many bytes that were.
    ///
    /// # Errors
    /// The file is damaged, or `marshal` refuses what is in it.
    fn unmarshal<'py>(
        &self,
        py: Python<'py>,
        store: usize,
        number: usize,
        mut accept: impl FnMut(&mut Option<Texts>, &'static Pye<'static>, &Mark, &[u8]) -> bool,
    ) -> Result<(Bound<'py, PyAny>, usize), Reason> {
        let scratch = self.with(|inner| {
            let (pye, module) = inner.stores[store].module(number)?;
            let mut scratch = std::mem::take(&mut inner.scratch);
            let accept = |mark: &Mark, payload: &[u8]| accept(&mut inner.texts, pye, mark, payload);
            scratch.stage(pye, &module, accept, |n| self.nonce.placeholder(n)).map_err(|e| Reason::of(&e))?;
            inner.stores[store].touched(u64::from(module.record.pyc_len));
            Ok(scratch)
        })?;
        let bytes = scratch.bytes.len();
        // An object of the interpreter's: unmarshalling can run other code (an audit hook, a finaliser), which may find it, and keep it.
        let copy = PyBytes::new_with(py, bytes, |copy| {
            copy.copy_from_slice(&scratch.bytes);
            Ok(())
        });
        self.keep(scratch);
        let code = copy.and_then(|copy| self.loads.bind(py).call1((copy,)));
        match code {
            Ok(code) => Ok((code, bytes)),
            Err(error) if error.is_instance_of::<PyMemoryError>(py) => Err(Reason::Memory),
            Err(_) => Err(Reason::Unmarshal),
        }
    }

    /// Keeps a buffer for the next module, unless it is a large one.
    fn keep(&self, scratch: Scratch) {
        if scratch.bytes.capacity() <= KEPT_BUFFER {
            self.with(|inner| inner.scratch = scratch);
        }
    }
}

/// The text of a blob, if a mapped `str` for it is possible and worth it.
fn mapped(pye: &'static Pye<'static>, blob: &Blob, stored: &[u8]) -> Option<MappedText> {
    if blob.kind == Kind::Bytes || !may_stay_mapped(blob.len, blob.kind == Kind::Ascii, stored) {
        return None;
    }
    let store = blob.kind.store();
    let start = usize::try_from(blob.offset).ok()?.checked_mul(store.width())?;
    MappedText::new(pye.part(payload(store)), start, usize::try_from(blob.len).ok()?, blob.kind)
}

/// Runs the command line. `executable` and `package` are the interpreter and the directory of this package: how to start the program again.
#[pyfunction]
fn main(py: Python<'_>, argv: Vec<OsString>, executable: PathBuf, package: PathBuf) -> u8 {
    let host = crate::cli::Host::Interpreter { executable, package };
    py.detach(|| crate::cli::main(argv, &host))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    life::enter().map_err(PyImportError::new_err)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Packages>()?;
    module.add_class::<LoaderBase>()?;
    module.add_class::<BeforeFork>()?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(build::build_image, module)?)?;
    module.add_function(wrap_pyfunction!(cache::dump_cache, module)?)?;
    module.add_function(wrap_pyfunction!(cache::load_cache, module)?)?;
    module.add("LoadError", module.py().get_type::<cache::LoadError>())?;
    Ok(())
}
