//! Whether the invocations of a workgroup reach every barrier together.
//!
//! WGSL demands it (<https://www.w3.org/TR/WGSL/#uniformity>), and browsers' compilers and some drivers
//! rely on it; naga 30 takes a barrier after a return that only some invocations take. This is the
//! standard's analysis on naga's tree, with two simplifications that refuse more: a local variable that
//! is anywhere given a value that differs between invocations differs everywhere, and what a pointer
//! argument points to always differs.

use std::collections::{HashMap, HashSet};

use naga::{
    AddressSpace, Binding, Block, BuiltIn, Expression, Function, FunctionArgument, Handle,
    LocalVariable, Module, Span, Statement, StorageAccess, TypeInner,
};

/// The line of a barrier that only some invocations of a workgroup may reach, if there is one.
pub(super) fn barrier_for_some(module: &Module, text: &str) -> Option<u32> {
    let [entry] = module.entry_points.as_slice() else {
        panic!("{} entry points", module.entry_points.len());
    };
    let arguments = entry.function.arguments.iter().map(built_in_differs);
    let walk = Walk::of(module, &entry.function, arguments.collect(), false);
    walk.fault.map(|span| span.location(text).line_number)
}

fn built_in_differs(argument: &FunctionArgument) -> bool {
    !matches!(
        argument.binding,
        Some(Binding::BuiltIn(
            BuiltIn::WorkGroupId | BuiltIn::WorkGroupSize | BuiltIn::NumWorkGroups
        ))
    )
}

/// How some invocations, but perhaps not all, leave a block.
#[derive(Debug, Clone, Copy, Default)]
struct Left {
    by_return: bool,
    by_break: bool,
    by_continue: bool,
}

impl Left {
    fn any(self) -> bool {
        self.by_return || self.by_break || self.by_continue
    }

    fn or(self, other: Left) -> Left {
        Left {
            by_return: self.by_return || other.by_return,
            by_break: self.by_break || other.by_break,
            by_continue: self.by_continue || other.by_continue,
        }
    }
}

/// A function, called with arguments of which some differ between the invocations of a workgroup.
struct Walk<'a> {
    module: &'a Module,
    function: &'a Function,
    arguments: Vec<bool>,
    /// Whether each expression's value differs, by its index.
    differs: Vec<bool>,
    /// Variables whose values differ.
    variables: HashSet<Handle<LocalVariable>>,
    /// Whether the results of calls differ.
    calls: HashMap<Handle<Expression>, bool>,
    /// Whether what it returns differs.
    result: bool,
    /// The first barrier that only some invocations may reach.
    fault: Option<Span>,
}

impl<'a> Walk<'a> {
    /// `some`: whether only some invocations call it. What differs is found by walking until no more is.
    fn of(module: &'a Module, function: &'a Function, arguments: Vec<bool>, some: bool) -> Self {
        let mut walk = Walk {
            module,
            function,
            arguments,
            differs: Vec::new(),
            variables: HashSet::new(),
            calls: HashMap::new(),
            result: false,
            fault: None,
        };
        loop {
            let found = |walk: &Walk<'_>| {
                let calls = walk.calls.values().filter(|differs| **differs).count();
                (walk.variables.len(), calls, walk.result)
            };
            let before = found(&walk);
            walk.differs.clear();
            for (handle, expression) in function.expressions.iter() {
                let differs = walk.value_differs(handle, expression);
                walk.differs.push(differs);
            }
            walk.block(&function.body, some);
            if found(&walk) == before {
                return walk;
            }
        }
    }

    fn at(&self, handle: Handle<Expression>) -> bool {
        self.differs[handle.index()]
    }

    /// Expressions refer to earlier ones only.
    fn value_differs(&self, handle: Handle<Expression>, expression: &Expression) -> bool {
        use Expression as E;
        match expression {
            E::Literal(_)
            | E::Constant(_)
            | E::Override(_)
            | E::ZeroValue(_)
            | E::ArrayLength(_)
            | E::WorkGroupUniformLoadResult { .. } => false,
            E::FunctionArgument(index) => {
                let argument = &self.function.arguments[*index as usize];
                let pointer = matches!(
                    self.module.types[argument.ty].inner,
                    TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. }
                );
                pointer || self.arguments[*index as usize]
            }
            // What another invocation may have written differs, as the standard has it.
            E::GlobalVariable(global) => match self.module.global_variables[*global].space {
                AddressSpace::Uniform | AddressSpace::Immediate => false,
                AddressSpace::Storage { access } => access.contains(StorageAccess::STORE),
                _ => true,
            },
            E::LocalVariable(variable) => self.variables.contains(variable),
            E::CallResult(_) => self.calls.get(&handle).copied().unwrap_or(false),
            E::Access { base, index } => self.at(*base) || self.at(*index),
            E::AccessIndex { base: of, .. }
            | E::Splat { value: of, .. }
            | E::Swizzle { vector: of, .. }
            | E::Load { pointer: of }
            | E::Unary { expr: of, .. }
            | E::Relational { argument: of, .. }
            | E::As { expr: of, .. } => self.at(*of),
            E::Compose { components, .. } => components.iter().any(|part| self.at(*part)),
            E::Binary { left, right, .. } => self.at(*left) || self.at(*right),
            E::Select {
                condition,
                accept,
                reject,
            } => [condition, accept, reject].iter().any(|of| self.at(**of)),
            E::Math {
                arg,
                arg1,
                arg2,
                arg3,
                ..
            } => {
                let more = [arg1, arg2, arg3].into_iter().flatten();
                self.at(*arg) || more.into_iter().any(|of| self.at(*of))
            }
            _ => true,
        }
    }

    /// Walks statements that `some` invocations reach, or all.
    fn block(&mut self, block: &Block, some: bool) -> Left {
        let mut left = Left::default();
        for (statement, span) in block.span_iter() {
            left = left.or(self.statement(statement, *span, some || left.any()));
        }
        left
    }

    fn statement(&mut self, statement: &Statement, span: Span, some: bool) -> Left {
        let mut left = Left::default();
        match statement {
            Statement::Emit(_) => {}
            Statement::Block(block) => left = self.block(block, some),
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let some = some || self.at(*condition);
                left = self.block(accept, some).or(self.block(reject, some));
            }
            Statement::Switch { selector, cases } => {
                let some = some || self.at(*selector);
                for case in cases {
                    left = left.or(self.block(&case.body, some || left.any()));
                }
                left.by_break = false;
            }
            Statement::Loop {
                body,
                continuing,
                break_if,
            } => left.by_return = self.repeated(body, continuing, *break_if, some),
            Statement::Break => left.by_break = some,
            Statement::Continue => left.by_continue = some,
            Statement::Return { value } => {
                left.by_return = some;
                self.result |= some || value.is_some_and(|value| self.at(value));
            }
            Statement::ControlBarrier(_) => self.barrier(some, span),
            Statement::WorkGroupUniformLoad { pointer, .. } => {
                let (_, index) = self.place(*pointer);
                self.barrier(some || index, span);
            }
            Statement::Store { pointer, value } => {
                let (root, index) = self.place(*pointer);
                if some || index || self.at(*value) {
                    self.set_differs(root);
                }
            }
            Statement::Call {
                function,
                arguments,
                result,
            } => self.call(*function, arguments, *result, span, some),
            other => panic!("{other:?} is new to this analysis"),
        }
        left
    }

    /// A loop; whether some invocations return out of it. Whoever leaves early is missing in the trips
    /// that follow.
    fn repeated(
        &mut self,
        body: &Block,
        continuing: &Block,
        break_if: Option<Handle<Expression>>,
        mut some: bool,
    ) -> bool {
        loop {
            let left = self.block(body, some);
            let after = some || left.any();
            let left = left.or(self.block(continuing, after));
            let ends = break_if.is_some_and(|condition| self.at(condition));
            if some || !(left.any() || ends) {
                return left.by_return;
            }
            some = true;
        }
    }

    fn barrier(&mut self, some: bool, span: Span) {
        if some && self.fault.is_none() {
            self.fault = Some(span);
        }
    }

    fn call(
        &mut self,
        function: Handle<Function>,
        arguments: &[Handle<Expression>],
        result: Option<Handle<Expression>>,
        span: Span,
        some: bool,
    ) {
        let differ = arguments.iter().map(|argument| self.at(*argument));
        let callee = &self.module.functions[function];
        let called = Walk::of(self.module, callee, differ.collect(), some);
        if called.fault.is_some() {
            self.barrier(true, span);
        }
        if let Some(result) = result {
            *self.calls.entry(result).or_default() |= called.result;
        }
        for argument in arguments {
            let (root, _) = self.place(*argument);
            self.set_differs(root);
        }
    }

    /// What a pointer points into, and whether its indices differ.
    fn place(&self, mut pointer: Handle<Expression>) -> (Handle<Expression>, bool) {
        let mut differs = false;
        loop {
            match self.function.expressions[pointer] {
                Expression::Access { base, index } => {
                    differs |= self.at(index);
                    pointer = base;
                }
                Expression::AccessIndex { base, .. } => pointer = base,
                _ => return (pointer, differs),
            }
        }
    }

    /// Marks the variable that `root` is, if it is one.
    fn set_differs(&mut self, root: Handle<Expression>) {
        if let Expression::LocalVariable(variable) = self.function.expressions[root] {
            self.variables.insert(variable);
        }
    }
}

/// Bodies of an entry point, and whether all barriers in them are reached together.
const BODIES: &[(bool, &str)] = &[
    (
        true,
        "if (group.x >= sizes.x) { return; } workgroupBarrier();",
    ),
    (
        true,
        "if (lane < 3u) { words[lane] = 1u; } workgroupBarrier();",
    ),
    (
        true,
        "for (var i = 0u; i < sizes.y; i++) { words[lane] = i; workgroupBarrier(); }",
    ),
    (
        true,
        "for (var i = lane; i < sizes.y; i += 64u) { words[i] = i; } workgroupBarrier();",
    ),
    (
        true,
        "for (var i = lane; i < 99u; i++) { if (data[i] == 0u) { break; } } workgroupBarrier();",
    ),
    (true, "words[lane] = one_or_two(lane); workgroupBarrier();"),
    (true, "if (one_or_two(sizes.x) == 1u) { together(); }"),
    (
        true,
        "switch (sizes.x) { case 0u: { workgroupBarrier(); } default: {} }",
    ),
    (
        true,
        "let n = workgroupUniformLoad(&word); if (n == 1u) { workgroupBarrier(); }",
    ),
    (
        false,
        "if (data[lane] == 0u) { return; } workgroupBarrier();",
    ),
    (
        false,
        "if (lane >= sizes.x) { return; } words[lane] = 1u; workgroupBarrier();",
    ),
    (false, "if (lane == 0u) { workgroupBarrier(); }"),
    (false, "if (lane == 0u) { together(); }"),
    (false, "if (words[0] == 0u) { workgroupBarrier(); }"),
    (false, "if (data[0] == 0u) { storageBarrier(); }"),
    (false, "if (one_or_two(lane) == 1u) { together(); }"),
    (
        false,
        "var n = 1u; if (lane > 5u) { n = 2u; } if (n > 1u) { workgroupBarrier(); }",
    ),
    (
        false,
        "var n = 0u; add(&n, lane); if (n > 1u) { workgroupBarrier(); }",
    ),
    (
        false,
        "for (var i = lane; i < 64u; i++) { workgroupBarrier(); }",
    ),
    (
        false,
        "for (var i = 0u; i < 64u; i++) { if (data[lane] == i) { break; } workgroupBarrier(); }",
    ),
    (
        false,
        "for (var i = 0u; i < 9u; i++) { workgroupBarrier(); if (data[lane] == i) { break; } }",
    ),
    (
        false,
        "loop { workgroupBarrier(); continuing { break if data[lane] == 0u; } }",
    ),
    (
        false,
        "loop { if (lane == 1u) { return; } break; } workgroupBarrier();",
    ),
    (
        false,
        "switch (lane) { case 0u: { return; } default: {} } workgroupBarrier();",
    ),
    (
        false,
        "let n = workgroupUniformLoad(&words[lane]); data[0] = n;",
    ),
];

/// A whole text around one of [`BODIES`].
fn around(body: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<uniform> sizes: vec4<u32>;
var<workgroup> words: array<u32, 64>;
var<workgroup> word: u32;
fn together() {{ workgroupBarrier(); }}
fn one_or_two(i: u32) -> u32 {{ if (i > 3u) {{ return 1u; }} return 2u; }}
fn add(to: ptr<function, u32>, i: u32) {{ *to += i; }}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {{
    {body}
    data[lane] = words[63u - lane] + sizes.x + group.x + word;
}}"
    )
}

/// Whole texts, and whether all barriers in them are reached together.
pub(super) fn examples() -> impl Iterator<Item = (bool, String)> {
    BODIES
        .iter()
        .map(|(together, body)| (*together, around(body)))
}

#[test]
fn barriers_that_only_some_invocations_reach_are_found() {
    for (together, text) in examples() {
        let (module, _) = super::module("an example", &text);
        let found = barrier_for_some(&module, &text);
        assert_eq!(found, (!together).then_some(10), "{text}");
    }
}

#[test]
fn every_barrier_is_reached_by_whole_workgroups() {
    super::for_each_text(|_, label, text, _| {
        let (module, _) = super::module(label, text);
        if let Some(line) = barrier_for_some(&module, text) {
            let line = text.lines().nth(line as usize - 1).unwrap_or_default();
            panic!(
                "{label}: some invocations of a workgroup may not reach `{}`",
                line.trim()
            );
        }
    });
}
