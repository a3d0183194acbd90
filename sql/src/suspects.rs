//! Places that a later refusal may point at. Most rules are decided on the plan, which has lost its places; the tree
//! still has them. A place is noted for each code that could apply there, the likeliest first.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArguments, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator,
    ObjectName, Query, Select, SelectItem, SetExpr, Spanned, TableFactor, Visit, Visitor, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use epiledger_privacy::catalog::UNIT;
use epiledger_privacy::refusal::Code;

use crate::sight::{function_name, name_span};

/// Likely places of refusals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspects {
    /// Code, how likely (less is likelier), place; in the order of the text.
    places: Vec<(Code, u8, Span)>,
    /// Identifiers and their places.
    idents: Vec<(String, Span)>,
    /// Tables as the planner looks them up, and their places.
    tables: Vec<(String, Span)>,
    /// Names that a WITH defines.
    defined: Vec<String>,
    /// Parameters as they are written, and their places.
    placeholders: Vec<(String, Span)>,
    depth: usize,
    /// `LIMIT` of queries by depth.
    limits: Vec<(usize, Span)>,
}

/// Notes the places of a question.
pub(crate) fn find(query: &Query) -> Suspects {
    let mut found = Suspects::default();
    // The visitor never breaks.
    let ControlFlow::Continue(()) = query.visit(&mut found);
    let mut body = query.body.as_ref();
    while let SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    if let SetExpr::Select(select) = body {
        found.outermost(select);
    }
    let limits = std::mem::take(&mut found.limits);
    for (depth, span) in limits {
        found.note(Code::LimitOrSampleBeforeAgg, if depth > 1 { 0 } else { 3 }, span);
    }
    found
}

/// An identifier as the planner reads it.
fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn is_unit(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(ident) => ident.value.eq_ignore_ascii_case(UNIT),
        Expr::CompoundIdentifier(idents) => idents.last().is_some_and(|ident| ident.value.eq_ignore_ascii_case(UNIT)),
        Expr::Nested(inner) => is_unit(inner),
        _ => false,
    }
}

/// Does the expression name the patient anywhere?
fn names_unit(expr: &Expr) -> bool {
    struct Named(bool);
    impl Visitor for Named {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0 |= is_unit(expr);
            ControlFlow::Continue(())
        }
    }
    let mut named = Named(false);
    let _: ControlFlow<()> = expr.visit(&mut named);
    named.0
}

impl Suspects {
    /// The likeliest place of a refusal; an empty span when none was noted.
    pub(crate) fn place(&self, code: Code) -> Span {
        let of_code = self.places.iter().filter(|(noted, _, _)| *noted == code);
        of_code.min_by_key(|(_, rank, _)| *rank).map_or_else(Span::empty, |(_, _, span)| *span)
    }

    /// The place of an identifier.
    pub(crate) fn ident(&self, name: &str) -> Option<Span> {
        self.idents.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, span)| *span)
    }

    /// Tables that the question reads, in the order of the text.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &(String, Span)> {
        self.tables.iter()
    }

    /// Names that a WITH of the question defines.
    pub(crate) fn defined(&self) -> impl Iterator<Item = &str> {
        self.defined.iter().map(String::as_str)
    }

    /// Parameters as they are written, in the order of the text.
    pub(crate) fn placeholders(&self) -> &[(String, Span)] {
        &self.placeholders
    }

    /// Does a WITH of the question define this name?
    pub(crate) fn defines(&self, name: &str) -> bool {
        self.defined.iter().any(|known| known == name)
    }

    fn note(&mut self, code: Code, rank: u8, span: Span) {
        self.places.push((code, rank, span));
    }

    fn outermost(&mut self, select: &Select) {
        for item in &select.projection {
            let span = item.span();
            self.note(Code::RowLevelOutput, 0, span);
            let expr = match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr,
                _ => continue,
            };
            if is_unit(expr) {
                self.note(Code::UnitInOutput, 0, span);
            } else if names_unit(expr) && !matches!(expr, Expr::Function(_)) {
                self.note(Code::UnitInOutput, 2, span);
            }
        }
    }

    fn join(&mut self, join: &Join) {
        use JoinOperator as J;
        let span = join.relation.span();
        let (constraint, outer) = match &join.join_operator {
            J::Left(c) | J::LeftOuter(c) | J::Right(c) | J::RightOuter(c) | J::FullOuter(c) => (Some(c), true),
            J::Join(c) | J::Inner(c) | J::CrossJoin(c) | J::LeftSemi(c) | J::LeftAnti(c) => (Some(c), false),
            _ => (None, false),
        };
        if outer {
            let full = matches!(join.join_operator, J::FullOuter(_));
            self.note(Code::OuterJoinNullsPrivate, if full { 0 } else { 2 }, span);
        }
        match constraint {
            Some(JoinConstraint::On(on)) => {
                let rank = if names_unit(on) { 2 } else { 0 };
                self.note(Code::PrivateJoinNotOnUnit, rank, on.span());
            }
            Some(JoinConstraint::None) | None => self.note(Code::CrossJoinPrivate, 0, span),
            _ => self.note(Code::PrivateJoinNotOnUnit, 1, span),
        }
        self.note(Code::TooMuchWork, 0, span);
        self.note(Code::CrossJoinPrivate, 3, span);
        self.note(Code::NestedDp, 2, span);
        // A product that pairs private with public rows by a wrong name ends as one of these too.
        self.note(Code::PrivateJoinNotOnUnit, 4, span);
    }

    fn function(&mut self, call: &Function) {
        let name = function_name(&call.name);
        let span = name_span(&call.name);
        match &call.over {
            Some(WindowType::WindowSpec(spec)) => {
                let by_unit = spec.partition_by.iter().any(is_unit);
                self.note(Code::WindowNotByUnit, if by_unit { 1 } else { 0 }, span);
                self.note(Code::AggUnsupported, 2, span);
                return;
            }
            Some(WindowType::NamedWindow(_)) => {
                self.note(Code::WindowNotByUnit, 1, span);
                self.note(Code::AggUnsupported, 2, span);
                return;
            }
            None => {}
        }
        let args = match &call.args {
            FunctionArguments::List(list) => Some(list),
            _ => None,
        };
        let distinct = args.is_some_and(|list| list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
        match name.as_str() {
            "count" => {
                self.note(Code::AggUnsupported, if distinct { 1 } else { 3 }, span);
                if distinct {
                    self.note(Code::OuterJoinNullsPrivate, 1, span);
                }
            }
            "sum" | "avg" | "mean" => {
                self.note(Code::UnboundedColumn, 0, span);
                self.note(Code::AggUnsupported, if distinct { 1 } else { 3 }, span);
            }
            "min" | "max" | "corr" | "bool_and" => self.note(Code::AggUnsupported, 0, span),
            "median" | "approx_median" | "approx_percentile_cont" => {
                self.note(Code::TooManyCells, 0, span);
                self.note(Code::UnboundedColumn, 0, span);
                self.note(Code::AggUnsupported, if distinct { 1 } else { 2 }, span);
            }
            _ if name.starts_with("stddev") || name.starts_with("var") => {
                self.note(Code::UnboundedColumn, 0, span);
                self.note(Code::AggUnsupported, if distinct { 1 } else { 3 }, span);
            }
            "date_trunc" | "date_part" | "extract" | "month" | "quarter" | "week" | "day" => {
                self.note(Code::Precision, 0, span);
                self.note(Code::NonTotalFn, 1, span);
                self.note(Code::TypeMismatch, 2, span);
            }
            _ => {
                self.note(Code::NonTotalFn, 0, span);
                self.note(Code::TypeMismatch, 1, span);
            }
        }
    }
}

impl Visitor for Suspects {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.defined.push(normal(&cte.alias.name));
        }
        if let Some(limit) = &query.limit_clause {
            self.limits.push((self.depth, limit.span()));
        }
        if let SetExpr::SetOperation { right, .. } = query.body.as_ref() {
            self.note(Code::SetopMixed, 0, right.span());
            self.note(Code::AggUnsupported, 4, right.span());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if let Some(datafusion::sql::sqlparser::ast::Distinct::On(on)) = &select.distinct {
            let span = on.first().map_or_else(|| select.span(), Spanned::span);
            self.note(Code::LimitOrSampleBeforeAgg, 1, span);
        }
        for table in select.from.iter().skip(1) {
            self.note(Code::CrossJoinPrivate, 1, table.span());
            self.note(Code::TooMuchWork, 1, table.span());
            self.note(Code::PrivateJoinNotOnUnit, 3, table.span());
            self.note(Code::NestedDp, 3, table.span());
        }
        for table in &select.from {
            table.joins.iter().for_each(|join| self.join(join));
        }
        if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
            for expr in exprs {
                if names_unit(expr) {
                    self.note(Code::UnitInOutput, 1, expr.span());
                    self.note(Code::RowLevelOutput, 1, expr.span());
                }
            }
        }
        for item in &select.projection {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
                continue;
            };
            if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
                self.note(Code::InvalidGrouping, 0, expr.span());
            }
            self.note(Code::InvalidGrouping, 1, expr.span());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        if let Some(ident) = relation.0.last().and_then(|part| part.as_ident()) {
            self.tables.push((normal(ident), relation.span()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Derived { .. } = factor {
            self.note(Code::NestedDp, 4, factor.span());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let span = expr.span();
        match expr {
            Expr::Identifier(ident) => self.idents.push((ident.value.clone(), ident.span)),
            Expr::CompoundIdentifier(idents) => {
                self.idents.extend(idents.iter().map(|ident: &Ident| (ident.value.clone(), ident.span)));
            }
            Expr::Subquery(_) => self.note(Code::PrivateSubqueryInExpr, 0, span),
            Expr::InSubquery { subquery, negated, .. } => {
                let span = if span.start.line == 0 { subquery.span() } else { span };
                self.note(Code::PrivateSubqueryInExpr, 1, span);
                self.note(Code::OuterJoinNullsPrivate, if *negated { 0 } else { 1 }, span);
                self.note(Code::NestedDp, 0, span);
                self.note(Code::TooMuchWork, 2, span);
            }
            Expr::Exists { subquery, .. } => {
                let span = if span.start.line == 0 { subquery.span() } else { span };
                self.note(Code::PrivateSubqueryInExpr, 1, span);
                self.note(Code::NestedDp, 1, span);
                self.note(Code::TooMuchWork, 2, span);
            }
            Expr::AnyOp { .. } | Expr::AllOp { .. } => self.note(Code::PrivateSubqueryInExpr, 1, span),
            Expr::Function(call) => self.function(call),
            Expr::Cast { .. } => {
                self.note(Code::NonTotalFn, 2, span);
                self.note(Code::TypeMismatch, 1, span);
            }
            Expr::Extract { .. } => {
                self.note(Code::Precision, 0, span);
                self.note(Code::NonTotalFn, 2, span);
            }
            Expr::BinaryOp { .. } => {
                self.note(Code::TypeMismatch, 3, span);
                self.note(Code::NonTotalFn, 4, span);
            }
            Expr::TypedString(_) => self.note(Code::TypeMismatch, 0, span),
            Expr::Value(value) => {
                if let datafusion::sql::sqlparser::ast::Value::Placeholder(name) = &value.value {
                    self.placeholders.push((name.clone(), value.span));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
