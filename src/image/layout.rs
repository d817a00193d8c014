//! Decides where each object goes: by what will be written to it, then by use. What a profile says is used comes first in each section, in the order of its first
//! use; what only functions that ran need comes before what their modules hold besides. Of the rest, what several packages share comes first, then module by module.

use std::cmp::Reverse;

use super::graph::{Graph, Kind, Ref};
use super::shape::{CONSTANTS, NAMES};
use super::{ALIGN, AREAS, Area, GC_HEAD, PAGE};
use crate::profile::Profile;

/// What is asked of a profile; ranks are those of first use.
pub trait Use {
    /// The rank of a module, by its source.
    fn module(&self, source: &str) -> Option<u32>;
    /// The rank of a function.
    fn function(&self, source: &str, name: &str, line: u32) -> Option<u32>;
}

/// Nothing is known.
impl Use for () {
    fn module(&self, _: &str) -> Option<u32> {
        None
    }

    fn function(&self, _: &str, _: &str, _: u32) -> Option<u32> {
        None
    }
}

impl Use for Profile {
    fn module(&self, source: &str) -> Option<u32> {
        Profile::module(self, source)
    }

    fn function(&self, source: &str, name: &str, line: u32) -> Option<u32> {
        // Of an older interpreter nothing is known of functions: those of its modules then come in the modules' order.
        Profile::function(self, source, name, line)
    }
}

/// Where an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its section.
    pub area: Area,
    /// Offset of its first byte in that.
    pub at: u64,
}

/// Where all objects are.
#[derive(Debug)]
pub struct Layout {
    /// Of each object.
    pub spots: Vec<Spot>,
    /// Bytes of each section: whole pages.
    pub sizes: [u64; AREAS],
    /// Bytes that the profile's modules need, from each section's start.
    pub hot: [u64; AREAS],
    /// See [`super::Head::names`].
    pub names: [u64; 2],
}

/// How soon something is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Heat {
    /// By a function that ran.
    Ran,
    /// In a module that was imported.
    Imported,
    /// Not in the profile.
    Cold,
}

struct Order<'g> {
    graph: &'g Graph,
    heats: Vec<Option<Heat>>,
    /// Objects in the order in which they were met.
    met: Vec<u32>,
    stack: Vec<u32>,
}

impl Order<'_> {
    /// Takes what `from` leads to, but for functions, which have turns of their own.
    fn visit(&mut self, from: u32, heat: Heat) {
        self.stack.push(from);
        while let Some(object) = self.stack.pop() {
            let function = self.graph.kind(object) == Kind::Function;
            if self.heats[object as usize].is_some() || function && object != from {
                continue;
            }
            self.heats[object as usize] = Some(heat);
            self.met.push(object);
            self.stack.extend(self.graph.children(object).rev());
        }
    }
}

/// The strings that code looks up or may use as keys: names of attributes and globals, and constants. Those of functions that ran and of module and class bodies,
/// which run when they are imported; the names of local variables, and what only other functions have, nobody hashes.
fn used_when_run(graph: &Graph, ran: impl Iterator<Item = u32>) -> Vec<bool> {
    let mut used = vec![false; graph.len()];
    let mut stack: Vec<u32> = ran.chain(graph.modules.iter().map(|module| module.root)).collect();
    while let Some(object) = stack.pop() {
        if std::mem::replace(&mut used[object as usize], true) {
            continue;
        }
        match graph.kind(object) {
            Kind::Function | Kind::Once => {
                let refs = graph.refs(object).iter().filter(|(at, _)| [NAMES, CONSTANTS].contains(&(*at as usize)));
                stack.extend(refs.filter_map(|(_, to)| if let Ref::Object(tuple) = to { Some(*tuple) } else { None }));
            }
            // A function that is made does not run by that.
            _ => stack.extend(graph.children(object).filter(|child| graph.kind(*child) != Kind::Function)),
        }
    }
    used
}

/// Of each object how many packages of `modules` lead to it: what has a name of its own in the directory that is above all of them. `modules` are in the order of
/// their paths.
fn shares(graph: &Graph, modules: &[usize]) -> Vec<u32> {
    let source = |module: &usize| graph.modules[*module].source.as_str();
    let above = modules.iter().map(source).reduce(common_directory).map_or(0, str::len);
    let package = |module: &usize| source(module)[above..].split('/').next();
    let mut shares = vec![0; graph.len()];
    // Of each object the last package that it was met from.
    let mut met = vec![0; graph.len()];
    let mut stack = Vec::new();
    for (modules, number) in modules.chunk_by(|a, b| package(a) == package(b)).zip(1..) {
        stack.extend(modules.iter().map(|module| graph.modules[*module].root));
        while let Some(object) = stack.pop() {
            if std::mem::replace(&mut met[object as usize], number) != number {
                shares[object as usize] += 1;
                stack.extend(graph.children(object));
            }
        }
    }
    shares
}

/// The innermost directory that both are in, with the slash at its end.
fn common_directory<'p>(a: &'p str, b: &str) -> &'p str {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    &a[..a.as_bytes()[..same].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1)]
}

/// Lays `graph` out.
pub fn layout(graph: &Graph, profile: &dyn Use) -> Layout {
    let modules = &graph.modules;
    let ranks: Vec<Option<u32>> = modules.iter().map(|m| profile.module(&m.source)).collect();
    let heat = |module: usize| if ranks[module].is_some() { Heat::Imported } else { Heat::Cold };
    let mut order = Order { graph, heats: vec![None; graph.len()], met: Vec::new(), stack: Vec::new() };

    let mut functions: Vec<(Option<u32>, usize, u32)> = Vec::with_capacity(graph.functions.len());
    for function in &graph.functions {
        let module = function.module as usize;
        let ran = profile.function(&modules[module].source, &function.name, function.line);
        functions.push((ran, module, function.object));
    }
    let mut ran: Vec<(u32, u32)> = functions.iter().filter_map(|(ran, _, object)| Some(((*ran)?, *object))).collect();
    ran.sort_unstable();
    ran.iter().for_each(|(_, object)| order.visit(*object, Heat::Ran));
    let used = used_when_run(graph, ran.iter().map(|(_, object)| *object));
    // What functions and modules of the profile share with others is met first through the profile's.
    let rank = |module: usize| (ranks[module].is_none(), ranks[module], module);
    functions.sort_by_key(|(_, module, _)| rank(*module));
    let mut numbers: Vec<usize> = (0..modules.len()).collect();
    numbers.sort_by_key(|module| rank(*module));
    let hot_functions = functions.partition_point(|(_, module, _)| ranks[*module].is_some());
    let hot_modules = numbers.partition_point(|module| ranks[*module].is_some());
    functions[..hot_functions].iter().for_each(|(_, module, object)| order.visit(*object, heat(*module)));
    numbers[..hot_modules].iter().for_each(|module| order.visit(modules[*module].root, heat(*module)));
    // Nobody knows which of the others will be imported, so what a module has stands together.
    let mut rest = &functions[hot_functions..];
    for module in &numbers[hot_modules..] {
        let (own, after) = rest.split_at(rest.partition_point(|(_, of, _)| of <= module));
        rest = after;
        own.iter().for_each(|(_, _, object)| order.visit(*object, Heat::Cold));
        order.visit(modules[*module].root, Heat::Cold);
    }
    let shares = shares(graph, &numbers[hot_modules..]);

    // Of another nothing would say where it goes, and it would be written over what stands at the start of a section.
    debug_assert_eq!(order.met.len(), graph.len(), "objects that no module leads to");

    let area = |object: u32| match graph.kind(object) {
        Kind::Function => Area::Code,
        Kind::Name | Kind::Key => Area::Names,
        Kind::Once | Kind::OnceTuple | Kind::OnceLeaf => Area::Once,
        Kind::Tuple if graph.refs(object).iter().any(|(_, to)| matches!(to, Ref::Made(_))) => Area::Patch,
        Kind::Tuple | Kind::Leaf => Area::Data,
    };
    let mut queue: Vec<(Area, u32)> = order.met.iter().map(|n| (area(*n), *n)).collect();
    let heat = |object: u32| order.heats[object as usize].unwrap_or(Heat::Cold);
    // Stable: within each group the order of use remains.
    queue.sort_by_key(|(area, object)| {
        let (heat, kind) = (heat(*object), graph.kind(*object));
        let cold = heat == Heat::Cold;
        // What is written in one process stands together, apart from what is not.
        let unhashed = *area == Area::Names && !used[*object as usize];
        // What most packages have is needed in any case, and first; what only one has stands with the rest of it.
        let shared = if cold { shares[*object as usize] } else { 0 };
        (*area as usize, cold, kind == Kind::Key, unhashed, heat, Reverse(shared))
    });

    let mut layout = Layout {
        spots: vec![Spot { area: Area::Data, at: 0 }; graph.len()],
        sizes: [0; AREAS],
        hot: [0; AREAS],
        names: [0; 2],
    };
    for (area, object) in queue {
        let end = &mut layout.sizes[area as usize];
        let kind = graph.kind(object);
        if kind.is_tuple() {
            *end += GC_HEAD as u64;
        }
        layout.spots[object as usize] = Spot { area, at: *end };
        *end = (*end + graph.bytes(object).len() as u64).next_multiple_of(ALIGN as u64);
        let cold = heat(object) == Heat::Cold;
        if !cold {
            layout.hot[area as usize] = *end;
        }
        if kind == Kind::Name {
            layout.names[usize::from(cold)] = *end;
        }
    }
    let hot = layout.hot[Area::Names as usize];
    layout.names[1] = layout.names[1].max(hot);
    for size in &mut layout.sizes {
        *size = size.next_multiple_of(PAGE as u64);
    }
    layout
}
