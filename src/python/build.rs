//! Gives a package an image, in the interpreter that the image is for.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::{Form, Packages};
use crate::cpython::live;
use crate::cpython::snapshot::{Objects, Snapshot};
use crate::fsys;
use crate::image::layout::{self, Use};
use crate::image::write::{self, Input};
use crate::image::{Area, Head, Relocate, random_base, random_version};
use crate::profile::Profile;
use crate::pye::{ModuleKind, Part};
use crate::runtime::store::Store;

/// Loads each module of the package at `path`, which stands for `root`, and writes the package with an image to `output`, which may be the same. Returns what was
/// done, for a report.
///
/// `progress` is called with the bytes of `.pyc` of each module. `relocate` is when processes are to relocate the image: `at-fork`, `lazy` or `never`.
#[pyfunction]
#[pyo3(signature = (path, root, output, profile = None, progress = None, relocate = None))]
pub(super) fn build_image<'py>(
    py: Python<'py>,
    path: &str,
    root: &str,
    output: &str,
    profile: Option<&str>,
    progress: Option<&Bound<'py, PyAny>>,
    relocate: Option<&str>,
) -> PyResult<Bound<'py, PyDict>> {
    let failed = |e: crate::error::Error| PyOSError::new_err(e.to_string());
    let relocate = match relocate {
        None => Relocate::default(),
        Some(name) => Relocate::by_name(name)
            .ok_or_else(|| PyValueError::new_err(format!("expected at-fork, lazy or never, got {name}")))?,
    };
    let profile = profile.map(|path| Profile::read(Path::new(path))).transpose().map_err(failed)?;
    let objects = &Objects::probe(py)?;
    let packages = Packages::new(py)?;
    let mut store = Store::open(Some(root), Path::new(path), packages.identity).map_err(failed)?;
    let Some((pye, _)) = store.package() else {
        return Err(PyOSError::new_err(format!("{path}: only a package can have an image")));
    };
    let root = store.root.clone();
    packages.with(|inner| {
        inner.stores.push(store);
        inner.forms.push(Form::None);
    });
    let target = packages.target.clone();
    // All that is needed of the store, so that it is not locked while code is loaded.
    let modules: Vec<(usize, String, u32)> = packages.with(|inner| {
        let store = &inner.stores[0];
        let wanted = |number| {
            let (_, module) = store.module(number).ok()?;
            let record = &module.record;
            let code = matches!(record.kind, ModuleKind::Module | ModuleKind::Package);
            let ours = code && record.magic == target.magic && record.optimization == target.optimization;
            let found = store.describe(&module).filter(|_| ours)?;
            Some((number, found.origin, record.pyc_len))
        };
        (0..store.modules()).filter_map(wanted).collect()
    });
    let payload = [Part::Str1, Part::Str2, Part::Str4].map(|part| {
        let bytes = pye.part(part as usize);
        (part as u8, bytes.as_ptr().addr() as u64..bytes.as_ptr().addr() as u64 + bytes.len() as u64)
    });

    let mut snapshot = Snapshot::new(py, objects, payload.to_vec())?;
    let data = live::sample_data(py)?;
    let sample = live::sample(py, objects, &data)?;
    snapshot.graph.add_made(data);
    let mut left: Vec<(String, String)> = Vec::new();
    for (number, origin, bytes) in &modules {
        let origin = PyString::new(py, origin);
        match packages.load(py, 0, *number, &origin, true)? {
            Some(code) => {
                if let Err(reason) = snapshot.module(&code, *number as u32) {
                    left.push((origin.to_string(), reason));
                }
            }
            None => left.push((origin.to_string(), "could not be loaded".into())),
        }
        if let Some(progress) = progress {
            progress.call1((bytes,))?;
        }
    }
    let graph = snapshot.graph;
    if graph.modules.is_empty() {
        let (major, minor) = target.python;
        let message = format!("{path}: no module of CPython {major}.{minor} at level {}", target.optimization);
        return Err(PyOSError::new_err(message));
    }
    let code = (0..graph.len() as u32).filter(|n| graph.kind(*n).is_code()).count() as u32;
    let random = || RandomState::new().build_hasher().finish();
    let first = random_version(random(), code);
    let first =
        first.ok_or_else(|| PyRuntimeError::new_err(format!("{code} code objects are too many for an image")))?;
    let nothing: &dyn Use = &();
    let layout = layout::layout(&graph, profile.as_ref().map_or(nothing, |profile| profile));
    let head = Head {
        relocate,
        base: random_base(random()),
        interpreter: objects.interpreter.base,
        hexversion: packages.hexversion,
        build_id: objects.interpreter.build_id.clone(),
        versions: (first, code),
        sample,
        ..Head::default()
    };
    let input = Input { pye, graph: &graph, layout: &layout, root: &root, head, version_at: objects.code.version };
    let mut file_bytes = 0;
    fsys::write_atomic(Path::new(output), None, |file| {
        file_bytes = write::write(input, file)?;
        Ok(())
    })
    .map_err(failed)?;
    let report = PyDict::new(py);
    report.set_item("modules", graph.modules.len())?;
    report.set_item("objects", graph.len())?;
    report.set_item("left_out", left)?;
    let areas = PyDict::new(py);
    for area in Area::ALL {
        areas.set_item(crate::pye::NAMES[area.part()], (layout.sizes[area as usize], layout.hot[area as usize]))?;
    }
    report.set_item("sections", areas)?;
    report.set_item("file_bytes", file_bytes)?;
    Ok(report)
}
