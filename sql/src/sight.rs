//! What is refused by sight of the tree, before anything is planned: forms that the planner would not know, would
//! silently ignore (TABLESAMPLE), or would expand past a limit.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, LimitClause, ObjectName, Query, Select, SetExpr, SetOperator, SetQuantifier, Spanned,
    TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use epiledger_privacy::refusal::Code;

use crate::error::SqlError;
use crate::names;
use crate::nearest::{hint, shown};

/// Code, message, place, and a hint of its own.
type Refusal = (Code, String, Span, Option<String>);

/// Looks at the whole tree.
pub(crate) fn check(query: &Query, text: &str) -> Result<(), SqlError> {
    match query.visit(&mut Sight) {
        ControlFlow::Break((code, message, span, hint)) => {
            let refusal = SqlError::new(code, message, span, text);
            Err(match hint {
                Some(hint) => refusal.with_hint(hint),
                None => refusal,
            })
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Sight;

fn refuse(code: Code, message: impl Into<String>, span: Span) -> ControlFlow<Refusal> {
    ControlFlow::Break((code, message.into(), span, None))
}

/// The span of a call's name.
pub(crate) fn name_span(name: &ObjectName) -> Span {
    name.span()
}

/// A function's name, lower case, as the planner looks it up.
pub(crate) fn function_name(name: &ObjectName) -> String {
    name.to_string().trim_matches('"').to_lowercase()
}

impl Visitor for Sight {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refusal> {
        if let Some(with) = &query.with {
            if with.recursive {
                return refuse(Code::Recursive, "WITH RECURSIVE", with.with_token.0.span);
            }
            for cte in &with.cte_tables {
                reserved(&cte.alias.name)?;
            }
        }
        let body = query.body.as_ref();
        if matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)) {
            return refuse(Code::NotAQuery, "the statement is not a question", query.span());
        }
        repeated_sets(body)?;
        let unknown = !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some();
        if unknown {
            return refuse(Code::NotAQuery, "a clause that is not part of a question", query.span());
        }
        if query.fetch.is_some() || !query.pipe_operators.is_empty() {
            return refuse(Code::Syntax, "write LIMIT n after ORDER BY", query.span());
        }
        if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause
            && !limit_by.is_empty()
        {
            return refuse(Code::Syntax, "LIMIT BY is not part of the dialect", query.span());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Refusal> {
        let span = select.span();
        if select.projection.is_empty() {
            return refuse(Code::Syntax, "SELECT names no column", span);
        }
        if select.into.is_some() {
            return refuse(Code::NotAQuery, "SELECT INTO writes a table", span);
        }
        let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = &select.group_by;
        if !modifiers.is_empty() {
            return refuse(Code::GroupingSets, "GROUP BY with a modifier", span);
        }
        let mut rows = Folds::default();
        // Conditions on rows, and keys, are decided before anything is aggregated.
        let stray = select.selection.visit(&mut rows).is_break()
            || select.group_by.visit(&mut rows).is_break()
            || select.from.iter().flat_map(|t| &t.joins).any(|join| join.join_operator.visit(&mut rows).is_break());
        if let Some(span) = rows.found.filter(|_| stray) {
            return refuse(Code::AggUnsupported, "an aggregate stands in WHERE, ON or GROUP BY: use HAVING", span);
        }
        if select.top.is_some() {
            return refuse(Code::LimitOrSampleBeforeAgg, "TOP", span);
        }
        let unknown = !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.value_table_mode.is_some()
            || select.select_modifiers.is_some()
            || !select.optimizer_hints.is_empty();
        if unknown {
            return refuse(Code::Syntax, "a clause that is not part of the dialect", span);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Refusal> {
        let span = factor.span();
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if args.is_some() {
                    return refuse(Code::NotAQuery, "functions that make tables or read files", name.span());
                }
                if sample.is_some() {
                    return refuse(Code::LimitOrSampleBeforeAgg, "TABLESAMPLE", span);
                }
                let plain = with_hints.is_empty()
                    && version.is_none()
                    && !with_ordinality
                    && partitions.is_empty()
                    && json_path.is_none()
                    && index_hints.is_empty();
                if !plain {
                    return refuse(Code::Syntax, "a table with clauses that are not part of the dialect", span);
                }
                alias.iter().try_for_each(|alias| reserved(&alias.name))
            }
            TableFactor::Derived { lateral, sample, alias, .. } => {
                if *lateral {
                    return refuse(Code::PrivateSubqueryInExpr, "LATERAL", span);
                }
                if sample.is_some() {
                    return refuse(Code::LimitOrSampleBeforeAgg, "TABLESAMPLE", span);
                }
                alias.iter().try_for_each(|alias| reserved(&alias.name))
            }
            TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                refuse(Code::NotAQuery, "functions that make tables or read files", span)
            }
            TableFactor::UNNEST { .. } => refuse(Code::NonTotalFn, "UNNEST", span),
            _ => refuse(Code::Syntax, "a kind of table that is not part of the dialect", span),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Refusal> {
        let idents: Vec<&Ident> = relation.0.iter().filter_map(|part| part.as_ident()).collect();
        let first = idents.first().map(|ident| ident.value.to_lowercase()).unwrap_or_default();
        let engine = ["information_schema", "pg_catalog", "datafusion", "system"].contains(&first.as_str());
        if engine && idents.len() > 1 {
            return refuse(Code::NotAQuery, "tables of the engine", relation.span());
        }
        if idents.iter().any(|ident| ident.quote_style == Some('\'')) {
            return refuse(Code::NotAQuery, "files are not tables", relation.span());
        }
        if idents.len() != 1 || relation.0.len() != 1 {
            return refuse(Code::UnknownName, "tables are named without a schema", relation.span());
        }
        idents.into_iter().try_for_each(reserved)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Refusal> {
        let span = expr.span();
        match expr {
            Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) => {
                refuse(Code::GroupingSets, "ROLLUP, CUBE or GROUPING SETS", span)
            }
            Expr::Function(call) => {
                let name = function_name(&call.name);
                if let Some(code) = names::fault(&name) {
                    let hint = match code {
                        Code::UnknownName => {
                            Some(hint(&names::near(&name), "The functions of the dialect are in DIALECT.md"))
                        }
                        Code::NonTotalFn => Some(hint(&names::near(&name), code.hint())),
                        _ => None,
                    };
                    let words = format!("the function {}", shown(&name));
                    return ControlFlow::Break((code, words, name_span(&call.name), hint));
                }
                let mut inner = Folds::default();
                if call.over.is_none() && names::aggregate(&name).is_some() && call.args.visit(&mut inner).is_break() {
                    let span = inner.found.unwrap_or(span);
                    return refuse(Code::AggUnsupported, "an aggregate stands inside another one", span);
                }
                if call.over.is_none() && names::only_window(&name) {
                    let words = format!("{name} is a window function: write OVER (PARTITION BY person_id ..)");
                    return refuse(Code::AggUnsupported, words, name_span(&call.name));
                }
                ControlFlow::Continue(())
            }
            Expr::RLike { .. } => refuse(Code::NonTotalFn, "regular expressions are written x ~ 'pattern'", span),
            Expr::Like { pattern, .. } | Expr::ILike { pattern, .. } | Expr::SimilarTo { pattern, .. }
                if !matches!(pattern.as_ref(), Expr::Value(_)) =>
            {
                refuse(Code::NonTotalFn, "the pattern of LIKE must be written as a literal", pattern.span())
            }
            Expr::Identifier(ident) if ident.value.starts_with('@') => {
                refuse(Code::NotAQuery, "variables of the engine", span)
            }
            Expr::Identifier(ident) => reserved(ident),
            Expr::CompoundIdentifier(idents) => idents.iter().try_for_each(reserved),
            Expr::Array(_) | Expr::Struct { .. } | Expr::Map(_) | Expr::Dictionary(_) | Expr::Lambda(_) => {
                refuse(Code::NonTotalFn, "lists and structures are not part of the dialect", span)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// INTERSECT ALL and EXCEPT ALL count repeated rows; the engine would plan them without their counts.
fn repeated_sets(body: &SetExpr) -> ControlFlow<Refusal> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else {
        return ControlFlow::Continue(());
    };
    let all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
    if all && *op != SetOperator::Union {
        return refuse(Code::SetopMixed, "INTERSECT ALL and EXCEPT ALL: leave ALL out", right.span());
    }
    repeated_sets(left)?;
    repeated_sets(right)
}

/// The first aggregate of the query itself, and not of a query inside it.
#[derive(Default)]
struct Folds {
    inside: usize,
    found: Option<Span>,
}

impl Visitor for Folds {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.inside += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.inside = self.inside.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(call) = expr
            && self.inside == 0
            && call.over.is_none()
            && names::aggregate(&function_name(&call.name)).is_some()
        {
            self.found = Some(name_span(&call.name));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// Names that our own rewriting uses.
fn reserved(ident: &Ident) -> ControlFlow<Refusal> {
    if ident.value.starts_with("__") {
        return refuse(Code::UnknownName, "names that begin with two underscores are reserved", ident.span);
    }
    ControlFlow::Continue(())
}
