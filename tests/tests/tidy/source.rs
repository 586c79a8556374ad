//! One Rust file with its code and its comments told apart, so that a rule about code is not misled by a word in a
//! comment or a string. A small tokenizer, not a parser: it knows comments, strings, characters and lifetimes, and
//! takes functions from `fn` to the brace that closes them. Lines and columns are those of the file.

/// A Rust file in three views of equal length: as it is, its code alone, its comments alone (the rest blanked).
pub struct Source {
    pub path: String,
    pub text: String,
    /// Comments and the insides of strings and characters are spaces.
    pub code: String,
    /// Everything but comments is spaces.
    pub comments: String,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Line of its `fn`, counted from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace, both counted.
    pub lines: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Quoted,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let bytes = text.as_bytes();
        let (mut code, mut comments) = (blank(bytes), blank(bytes));
        let mut at = 0;
        while at < bytes.len() {
            let (kind, end) = token(bytes, at);
            match kind {
                Kind::Code => code[at..end].copy_from_slice(&bytes[at..end]),
                Kind::Comment => comments[at..end].copy_from_slice(&bytes[at..end]),
                Kind::Quoted => {}
            }
            at = end;
        }
        let view = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { path: path.into(), text: text.into(), code: view(code), comments: view(comments) }
    }

    /// Lines before the file's own test module; all of them when it has none.
    pub fn lines_before_tests(&self) -> usize {
        let mut attributes_from = None;
        for (index, line) in self.code.lines().enumerate() {
            let line = line.trim();
            if line.starts_with("#[cfg(") && is_test_gate(line) {
                attributes_from.get_or_insert(index);
            }
            if line.starts_with("#[") || line.is_empty() {
                continue;
            }
            if let Some(from) = attributes_from.take()
                && has_word(line, "mod")
            {
                return from;
            }
        }
        self.text.lines().count()
    }

    /// Every function with a body, nested ones too, in the order of the file.
    pub fn functions(&self) -> Vec<Function> {
        let code = &self.code;
        words(code, "fn").filter_map(|at| function(code, at)).collect()
    }

    /// The lines of `code` (from 1) in which `word` stands as a whole word.
    pub fn lines_naming(&self, word: &str) -> Vec<usize> {
        let lines = self.code.lines().enumerate();
        lines.filter(|(_, line)| has_word(line, word)).map(|(index, _)| index + 1).collect()
    }
}

/// The line, from 1, in which the byte at `at` stands.
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// Byte positions at which `word` stands as a whole word (`::` inside it is allowed).
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let end = at + word.len();
        (at == 0 || !is_word(bytes[at - 1])) && (end == bytes.len() || !is_word(bytes[end]))
    })
}

pub fn has_word(text: &str, word: &str) -> bool {
    words(text, word).next().is_some()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn is_test_gate(attribute: &str) -> bool {
    has_word(attribute, "test") && !attribute.contains("not(test")
}

fn blank(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| if byte == b'\n' { b'\n' } else { b' ' }).collect()
}

/// The kind of what begins at `at`, and where it ends (after `at`, never past the end of the file).
fn token(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return (Kind::Comment, at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, at + block_comment(rest));
    }
    let starts_word = at == 0 || !is_word(bytes[at - 1]);
    if starts_word && let Some(length) = raw_string(rest) {
        return (Kind::Quoted, at + length);
    }
    match rest[0] {
        b'"' => (Kind::Quoted, at + quoted(rest, b'"')),
        b'\'' => character(rest).map_or((Kind::Code, at + 1), |length| (Kind::Quoted, at + length)),
        _ => (Kind::Code, at + 1),
    }
}

/// Length of the block comment at the head of `rest`; they nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of a raw string (`r"…"`, `br#"…"#` and their like) at the head of `rest`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"r"[..], b"br", b"cr"].into_iter().find(|prefix| {
        let after = rest.get(prefix.len());
        rest.starts_with(prefix) && matches!(after, Some(b'"' | b'#'))
    })?;
    let hashes = rest[prefix.len()..].iter().take_while(|&&byte| byte == b'#').count();
    let open = prefix.len() + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &rest[open + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// Length of the text in `quote`s at the head of `rest`; a backslash hides the byte after it.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Length of the character at the head of `rest`; `None` when the quote begins a lifetime or a label.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted(rest, b'\''));
    }
    let width = match *rest.get(1)? {
        byte if byte < 0x80 => 1,
        byte if byte < 0xE0 => 2,
        byte if byte < 0xF0 => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(2 + width)
}

/// The function whose `fn` stands at `at`; `None` for a function type or a declaration without body.
fn function(code: &str, at: usize) -> Option<Function> {
    let after = code[at + 2..].trim_start();
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return None;
    }
    let open = body_start(code.as_bytes(), at)?;
    let close = matching_brace(code.as_bytes(), open)?;
    let line = line_of(code, at);
    Some(Function { name, line, lines: line_of(code, close) - line + 1 })
}

fn body_start(code: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, &byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn matching_brace(code: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, &byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[test]
fn strings_and_comments_are_not_code() {
    let check =
        |text: &str, code: &str| assert_eq!(Source::new("x.rs", text).code.trim_end(), code, "{text}");
    check("a // b", "a");
    check("a /* b /* c */ d */ e", "a                   e");
    check(r#"a "b \" c" d"#, "a          d");
    check("a r#\"b \" c\"# d", "a            d");
    check("br\"x\" r#type", "      r#type");
    check("'x' '\\'' 'é' <'a>", "              <'a>");
    check("b'{' b'\\\\' x", "b    b     x");
    check("a \"b\nc\" d", "a   \n   d");
    assert_eq!(Source::new("x.rs", "a // b").comments, "  // b");
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let text = "fn a() {}\nstruct F(fn(u8) -> u8);\ntrait T { fn b(&self); }\n\
                fn c(x: [u8; 4]) -> [u8; 2]\nwhere\n{\n  let _ = \"}\";\n  fn d() {\n  }\n}\n";
    let found = Source::new("x.rs", text).functions();
    let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(found, [("a", 1, 1), ("c", 4, 7), ("d", 8, 2)]);
}

#[test]
fn the_test_module_ends_the_count() {
    let check =
        |text: &str, lines| assert_eq!(Source::new("x.rs", text).lines_before_tests(), lines, "{text}");
    check("a\nb\n", 2);
    check("a\n\n#[cfg(test)]\nmod tests {\n}\n", 2);
    check("a\n#[cfg(all(test, feature = \"sim\"))]\n#[path = \"x\"]\nmod tests;\n", 1);
    check("#[cfg(test)]\nuse x;\na\n#[cfg(test)]\nmod tests {}\n", 3);
    check("#[cfg(not(test))]\nmod a {}\n", 2);
}
