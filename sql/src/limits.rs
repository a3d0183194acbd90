//! Limits on the text, so that no question can exhaust the planner: bytes, tokens, nesting, and tables after every
//! WITH is written out (ten lines of `WITH a AS (..), b AS (SELECT .. FROM a, a), ..` would double at each step).

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, Spanned, Statement, Visit, Visitor};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};
use epiledger_privacy::refusal::Code;

use crate::error::SqlError;

/// Longest text, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Most tokens, white space left out.
pub const MAX_TOKENS: usize = 8192;

/// Deepest nesting of expressions and sub-queries.
pub const MAX_DEPTH: usize = 64;

/// Most tables, each counted as often as its WITH name is used.
pub const MAX_TABLES: u64 = 64;

/// Deepest parentheses, well under the parser's own limit: past it the parser tries each level twice.
const MAX_PARENTHESES: usize = 64;

/// Most prefix operators (NOT, +, -) in a row.
const MAX_PREFIXES: usize = 16;

/// Most tokens in a row without a comma or a clause, and most set operations: chains nest as deep as they are long.
const MAX_CHAIN: usize = 600;

/// Holds the tokens to the limits, before they are parsed.
pub(crate) fn check_tokens(tokens: &[TokenWithSpan], text: &str) -> Result<(), SqlError> {
    let mut count = 0_usize;
    let mut sets = 0_usize;
    let mut chains = vec![0_usize];
    let mut prefixes = 0_usize;
    for TokenWithSpan { token, span } in tokens {
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        count += 1;
        match token {
            Token::LParen => chains.push(0),
            Token::RParen => {
                chains.pop();
            }
            _ => {}
        }
        if let Token::Word(word) = token
            && word.value.starts_with("__")
        {
            let words = "names that begin with two underscores are the engine's own";
            return Err(SqlError::new(Code::UnknownName, words, *span, text));
        }
        if let Token::Word(word) = token
            && matches!(word.keyword, Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT)
        {
            sets += 1;
        }
        let chain = chains.last_mut();
        let length = match chain {
            Some(chain) => {
                *chain = if breaks(token) { 0 } else { *chain + 1 };
                *chain
            }
            None => 0,
        };
        prefixes = if prefix(token) { prefixes + 1 } else { 0 };
        let too_deep = chains.len() > MAX_PARENTHESES || prefixes > MAX_PREFIXES;
        if count > MAX_TOKENS || length > MAX_CHAIN || too_deep || sets > MAX_DEPTH {
            return Err(SqlError::new(Code::TooLarge, "the question is too long or nested too deep", *span, text));
        }
    }
    Ok(())
}

fn prefix(token: &Token) -> bool {
    matches!(token, Token::Plus | Token::Minus)
        || matches!(token, Token::Word(word) if word.quote_style.is_none() && word.keyword == Keyword::NOT)
}

fn breaks(token: &Token) -> bool {
    match token {
        Token::Comma => true,
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::SELECT
                | Keyword::FROM
                | Keyword::WHERE
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::ORDER
                | Keyword::ON
                | Keyword::JOIN
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE
                | Keyword::LIMIT
        ),
        _ => false,
    }
}

/// Holds the tree to the limits on nesting and on tables.
pub(crate) fn check_tree(statement: &Statement, text: &str) -> Result<(), SqlError> {
    let mut depths = Depths::default();
    if let ControlFlow::Break(span) = statement.visit(&mut depths) {
        return Err(SqlError::new(Code::TooLarge, "the question is nested too deep", span, text));
    }
    let mut tables = Tables::default();
    if let ControlFlow::Break(span) = statement.visit(&mut tables) {
        return Err(SqlError::new(Code::TooLarge, "the question reads too many tables", span, text));
    }
    Ok(())
}

#[derive(Default)]
struct Depths {
    exprs: usize,
    queries: usize,
}

impl Visitor for Depths {
    type Break = Span;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Span> {
        self.exprs += 1;
        // The span of a deep tree would be found by another walk of it.
        if self.exprs > MAX_DEPTH * 3 { ControlFlow::Break(shallow(expr)) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<Span> {
        self.exprs = self.exprs.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
        self.queries += 1;
        if self.queries > MAX_DEPTH { ControlFlow::Break(Span::empty()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
        self.queries = self.queries.saturating_sub(1);
        ControlFlow::Continue(())
    }
}

fn shallow(expr: &Expr) -> Span {
    match expr {
        Expr::Identifier(_) | Expr::Value(_) => expr.span(),
        _ => Span::empty(),
    }
}

/// Counts tables, a WITH name as many as its query reads.
#[derive(Default)]
struct Tables {
    /// Tables of each WITH name, the most of all definitions of that name.
    named: BTreeMap<String, u64>,
    /// Open queries: tables so far, and WITH names whose queries are still to come.
    open: Vec<(u64, Vec<String>)>,
}

impl Visitor for Tables {
    type Break = Span;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Span> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables);
        let mut names: Vec<String> = names.map(|cte| cte.alias.name.value.to_lowercase()).collect();
        names.reverse();
        self.open.push((0, names));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Span> {
        let Some((tables, _)) = self.open.pop() else {
            return ControlFlow::Continue(());
        };
        if tables > MAX_TABLES {
            return ControlFlow::Break(query.span());
        }
        if let Some((sum, pending)) = self.open.last_mut() {
            match pending.pop() {
                Some(name) => {
                    let most = self.named.entry(name).or_insert(0);
                    *most = tables.max(*most).max(1);
                }
                None => *sum = sum.saturating_add(tables),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Span> {
        let name = relation.to_string().to_lowercase();
        let tables = self.named.get(name.trim_matches('"')).copied().unwrap_or(1);
        if let Some((sum, _)) = self.open.last_mut() {
            *sum = sum.saturating_add(tables);
        }
        ControlFlow::Continue(())
    }
}
