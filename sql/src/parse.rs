//! Text into one statement, held to its limits and looked at once.

use datafusion::sql::sqlparser::ast::{Query, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};
use epiledger_privacy::refusal::Code;

use crate::error::SqlError;
use crate::limits::{MAX_TEXT_BYTES, check_tokens, check_tree};
use crate::stack::deep;
use crate::suspects::Suspects;
use crate::{sight, suspects};

/// One question: its tree, and the places that a refusal may point at.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub(crate) query: Box<Query>,
    pub(crate) text: String,
    pub(crate) suspects: Suspects,
}

impl Parsed {
    /// The text that was parsed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Parses one question.
///
/// # Errors
/// `TOO_LARGE`, `SYNTAX`, `MULTIPLE_STATEMENTS`, `NOT_A_QUERY`, and every refusal that the tree alone shows, each with
/// its place.
pub fn parse(text: &str) -> Result<Parsed, SqlError> {
    let failed = || SqlError::new(Code::TooLarge, "the question could not be read", Span::empty(), "");
    if text.len() > MAX_TEXT_BYTES {
        return Err(SqlError::new(Code::TooLarge, "the text is longer than 64 KiB", Span::empty(), ""));
    }
    deep(|| parsed(text)).unwrap_or_else(|| Err(failed()))
}

fn parsed(text: &str) -> Result<Parsed, SqlError> {
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| {
        let start = error.location;
        let end = Location { line: start.line, column: start.column + 1 };
        SqlError::new(Code::Syntax, "the text has a character or a quote that is not SQL", Span::new(start, end), text)
    })?;
    check_tokens(&tokens, text)?;
    let words: Vec<&TokenWithSpan> = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    check_start(&words, text)?;
    one_statement(&words, text)?;

    let end = words.last().map_or_else(Span::empty, |t| t.span);
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(crate::limits::MAX_DEPTH * 3)
        .with_tokens_with_locations(tokens.clone());
    let statement =
        parser.parse_statement().map_err(|error| not_parsed(&error, parser.peek_token().span, end, text))?;
    while parser.consume_token(&Token::SemiColon) {}
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(SqlError::new(Code::Syntax, "the statement does not end here", next.span, text));
    }
    check_tree(&statement, text)?;
    let Statement::Query(query) = statement else {
        let span = words.first().map_or_else(Span::empty, |t| t.span);
        return Err(SqlError::new(Code::NotAQuery, "the statement is not a question", span, text));
    };
    sight::check(&query, text)?;
    let suspects = suspects::find(&query);
    Ok(Parsed { query, text: text.to_owned(), suspects })
}

fn not_parsed(error: &ParserError, at: Span, end: Span, text: &str) -> SqlError {
    let at = if at.start.line == 0 { end } else { at };
    match error {
        ParserError::RecursionLimitExceeded => {
            SqlError::new(Code::TooLarge, "the question is nested too deep", at, text)
        }
        ParserError::ParserError(_) | ParserError::TokenizerError(_) => {
            SqlError::new(Code::Syntax, "the text is not SQL at or before this place", at, text)
        }
    }
}

/// Statements that begin otherwise are no questions, whether or not they would parse.
fn check_start(words: &[&TokenWithSpan], text: &str) -> Result<(), SqlError> {
    let first = words.iter().find(|t| t.token != Token::LParen);
    let refuse = |code, words: &str, span| Err(SqlError::new(code, words, span, text));
    match first {
        None => refuse(Code::Syntax, "there is no statement", Span::empty()),
        Some(TokenWithSpan { token: Token::Word(word), span }) => match word.keyword {
            Keyword::SELECT | Keyword::WITH | Keyword::VALUES => Ok(()),
            Keyword::NoKeyword => refuse(Code::Syntax, "a question begins with SELECT or WITH", *span),
            _ => refuse(Code::NotAQuery, "the statement is not a question", *span),
        },
        Some(other) => refuse(Code::Syntax, "a question begins with SELECT or WITH", other.span),
    }
}

fn one_statement(words: &[&TokenWithSpan], text: &str) -> Result<(), SqlError> {
    let after = words.iter().skip_while(|t| t.token != Token::SemiColon).find(|t| t.token != Token::SemiColon);
    match after {
        Some(second) => {
            Err(SqlError::new(Code::MultipleStatements, "a second statement begins here", second.span, text))
        }
        None => Ok(()),
    }
}
