//! Bicep as data: what the checks need of it, out of the tree of a real parser.

use std::collections::BTreeSet;

use tree_sitter::{Node, Parser};

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// A text; parts between `${}` are expressions.
    Text(Vec<Part>),
    Object(Vec<(String, Expr)>),
    Array(Vec<Expr>),
    /// `[for x in list: body]`.
    For(String, Box<Expr>, Box<Expr>),
    /// A name.
    Name(String),
    /// Anything else, as it is written.
    Other(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Text(String),
    Expr(Expr),
}

impl Expr {
    /// A property of an object, along a path.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        let Self::Object(properties) = self else { return None };
        properties.iter().find(|(name, _)| name == first)?.1.at(rest)
    }

    /// Its properties.
    pub(super) fn properties(&self) -> &[(String, Self)] {
        match self {
            Self::Object(properties) => properties,
            _ => &[],
        }
    }

    /// Its elements.
    pub(super) fn elements(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            _ => &[],
        }
    }

    /// A text without expressions in it.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(parts) => match parts.as_slice() {
                [] => Some(""),
                [Part::Text(text)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// As it is written, where it is no text and no structure.
    pub(super) fn written(&self) -> Option<&str> {
        match self {
            Self::Name(text) | Self::Other(text) => Some(text),
            _ => None,
        }
    }
}

/// What a declaration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Parameter,
    Variable,
    Resource,
    /// A resource that something else makes.
    Existing,
    Module,
    Output,
    Type,
}

/// A declaration.
#[derive(Debug, Clone)]
pub(super) struct Declaration {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Type and version of a resource, path of a module.
    pub(super) of: String,
    /// Its value; for a resource the body, inside of any `if`.
    pub(super) value: Option<Expr>,
    pub(super) described: bool,
    /// Where it stands, with the line break behind it.
    pub(super) range: std::ops::Range<usize>,
}

/// A file.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) declarations: Vec<Declaration>,
    /// What is wrong with it.
    pub(super) faults: Vec<String>,
}

impl File {
    /// Parses a file.
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_bicep::LANGUAGE.into()).expect("the grammar fits the parser");
        let tree = parser.parse(text, None).expect("a language is set");
        let mut faults = Vec::new();
        let place = |node: Node<'_>| format!("{path}:{}", node.start_position().row + 1);
        walk(tree.root_node(), &mut |node| {
            if node.is_error() || node.is_missing() {
                faults.push(format!("{} cannot be parsed", place(node)));
            }
        });
        let declarations = declarations(tree.root_node(), text);
        let known: BTreeSet<&str> = declarations.iter().map(|one| one.name.as_str()).collect();
        for (name, row) in used(tree.root_node(), text) {
            if !known.contains(name) {
                faults.push(format!("{path}:{} uses `{name}`, which nothing declares", row + 1));
            }
        }
        let mut seen = BTreeSet::new();
        for one in declarations.iter().filter(|one| one.kind != Kind::Output) {
            if !seen.insert(&one.name) {
                faults.push(format!("{path} declares `{}` twice", one.name));
            }
        }
        Self { path: path.to_owned(), text: text.to_owned(), declarations, faults }
    }

    /// Declarations of a kind.
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Declaration> {
        self.declarations.iter().filter(move |one| one.kind == kind)
    }

    /// The value of a variable or parameter.
    pub(super) fn value(&self, name: &str) -> Option<&Expr> {
        let found = self
            .declarations
            .iter()
            .find(|one| one.name == name && matches!(one.kind, Kind::Variable | Kind::Parameter));
        found?.value.as_ref()
    }
}

pub(super) fn walk<'a>(node: Node<'a>, visit: &mut impl FnMut(Node<'a>)) {
    visit(node);
    for index in 0..node.child_count() {
        if let Some(child) = node.child(u32::try_from(index).expect("a small tree")) {
            walk(child, visit);
        }
    }
}

pub(super) fn children<'a>(node: Node<'a>) -> Vec<Node<'a>> {
    (0..node.named_child_count())
        .filter_map(|index| node.named_child(u32::try_from(index).expect("a small tree")))
        .filter(|child| child.kind() != "comment" && child.kind() != "diagnostic_comment")
        .collect()
}

fn source<'t>(node: Node<'_>, text: &'t str) -> &'t str {
    &text[node.byte_range()]
}

fn declarations(root: Node<'_>, text: &str) -> Vec<Declaration> {
    let (mut found, mut described, mut start) = (Vec::new(), false, None);
    for node in children(root) {
        if node.kind() == "decorators" {
            described = source(node, text).contains("@description(");
            start = Some(node.start_byte());
            continue;
        }
        if let Some(mut declaration) = declaration(node, text) {
            declaration.described = described;
            let from = start.unwrap_or_else(|| node.start_byte());
            declaration.range = from..(node.end_byte() + 1).min(text.len());
            found.push(declaration);
        }
        (described, start) = (false, None);
    }
    found
}

fn declaration(node: Node<'_>, text: &str) -> Option<Declaration> {
    let all = children(node);
    let existing = (0..node.child_count()).any(|index| {
        node.child(u32::try_from(index).unwrap_or(0)).is_some_and(|child| child.kind() == "existing")
    });
    let kind = match node.kind() {
        "parameter_declaration" => Kind::Parameter,
        "variable_declaration" => Kind::Variable,
        "resource_declaration" if existing => Kind::Existing,
        "resource_declaration" => Kind::Resource,
        "module_declaration" => Kind::Module,
        "output_declaration" => Kind::Output,
        "type_declaration" => Kind::Type,
        _ => return None,
    };
    let name = source(*all.first()?, text).to_owned();
    let of = match kind {
        Kind::Resource | Kind::Existing | Kind::Module => {
            expr(*all.get(1)?, text).text().unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    // A parameter without a default ends with its type.
    let last = all.last().filter(|last| all.len() > 1 && last.kind() != "type");
    let value = last.map(|last| expr(unconditional(*last), text));
    Some(Declaration { kind, name, of, value, described: false, range: 0..0 })
}

/// The body of `if (…) {…}`.
fn unconditional(node: Node<'_>) -> Node<'_> {
    match node.kind() {
        "if_statement" => children(node).last().copied().unwrap_or(node),
        _ => node,
    }
}

fn expr(node: Node<'_>, text: &str) -> Expr {
    match node.kind() {
        "string" => Expr::Text(
            children(node)
                .into_iter()
                .map(|part| match part.kind() {
                    "interpolation" => match children(part).first() {
                        Some(inner) => Part::Expr(expr(*inner, text)),
                        None => Part::Text(String::new()),
                    },
                    _ => Part::Text(source(part, text).to_owned()),
                })
                .collect(),
        ),
        "object" => Expr::Object(
            children(node)
                .into_iter()
                .filter(|property| property.kind() == "object_property")
                .filter_map(|property| {
                    let all = children(property);
                    let (key, value) = (all.first()?, all.last()?);
                    let name = source(*key, text).trim_matches('\'').to_owned();
                    Some((name, expr(*value, text)))
                })
                .collect(),
        ),
        "array" => Expr::Array(children(node).into_iter().map(|element| expr(element, text)).collect()),
        "for_statement" => match children(node).as_slice() {
            [item, list, body] => Expr::For(
                source(*item, text).to_owned(),
                Box::new(expr(*list, text)),
                Box::new(expr(unconditional(*body), text)),
            ),
            _ => Expr::Other(source(node, text).to_owned()),
        },
        "identifier" => Expr::Name(source(node, text).to_owned()),
        _ => Expr::Other(source(node, text).to_owned()),
    }
}

/// Names that expressions use, without those of functions, properties and loops.
fn used<'t>(root: Node<'_>, text: &'t str) -> Vec<(&'t str, usize)> {
    let (mut names, mut local) = (Vec::new(), BTreeSet::new());
    walk(root, &mut |node| {
        if node.kind() == "for_statement"
            && let Some(item) = children(node).first()
        {
            walk(*item, &mut |inner| {
                if matches!(inner.kind(), "identifier" | "loop_variable" | "loop_enumerator") {
                    local.insert(source(inner, text));
                }
            });
        }
        let Some(parent) = node.parent().filter(|_| node.kind() == "identifier") else { return };
        let first = parent.named_child(0).is_some_and(|child| child.id() == node.id());
        let naming = match parent.kind() {
            "object_property" | "call_expression" => first,
            kind if kind.ends_with("_declaration") => first,
            "type" | "array_type" | "negated_type" | "member_type" | "decorator" => true,
            _ => false,
        };
        if !naming {
            names.push((source(node, text), node.start_position().row));
        }
    });
    names.retain(|(name, _)| !local.contains(name) && *name != "subscription" && *name != "resourceGroup");
    names
}
