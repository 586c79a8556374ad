//! Command lines and texts with placeholders: `{port}` and the like, and `{env:NAME}` for a variable of the environment. A line is split
//! first, so that what is filled in stays one word.

use std::collections::BTreeMap;

/// What placeholders stand for, by their names.
pub type Values = BTreeMap<&'static str, String>;

/// The words of a command line as a shell splits them, filled in.
///
/// # Errors
/// Open quotes, no word at all, or what [`fill`] says.
pub fn words(line: &str, values: &Values) -> Result<Vec<String>, String> {
    let words = shlex::split(line).ok_or_else(|| format!("`{line}`: a quote is left open"))?;
    if words.is_empty() {
        return Err("an empty command line".to_owned());
    }
    words.iter().map(|word| fill(word, values)).collect()
}

/// A text with its placeholders filled in. Braces that hold anything but a name in lower case stay as they are, and so do those behind a
/// dollar sign, which are a shell's.
///
/// # Errors
/// A placeholder that stands for nothing here, or a variable that is not set.
pub fn fill(text: &str, values: &Values) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        rest = behind;
        match behind.split_once('}') {
            Some((name, after)) if is_name(name) && !before.ends_with('$') => {
                filled.push_str(&value(name, values)?);
                rest = after;
            }
            Some(_) | None => filled.push('{'),
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with("env:") || (!text.is_empty() && text.chars().all(is_plain))
}

fn value(name: &str, values: &Values) -> Result<String, String> {
    if let Some(variable) = name.strip_prefix("env:") {
        return std::env::var(variable)
            .map_err(|_| format!("{{{name}}}: the variable {variable} is not set"));
    }
    let known = || values.keys().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" ");
    values
        .get(name)
        .cloned()
        .ok_or_else(|| format!("{{{name}}} stands for nothing here; there is {}", known()))
}

#[cfg(test)]
mod tests {
    use super::{Values, fill, words};

    fn values() -> Values {
        Values::from([("dir", "/a b".to_owned()), ("port", "7".to_owned())])
    }

    #[test]
    fn placeholders_are_filled_in_and_other_braces_stay() {
        let path = std::env::var("PATH").expect("a path");
        for (text, filled) in [
            ("{dir}/x:{port}{port}", "/a b/x:77"),
            ("", ""),
            ("${dir} {} {A b} {", "${dir} {} {A b} {"),
            ("{ {port} }", "{ 7 }"),
            ("{env:PATH}", &path),
        ] {
            assert_eq!(fill(text, &values()).as_deref(), Ok(filled), "{text}");
        }
        for (text, why) in
            [("{prot}", "there is {dir} {port}"), ("{env:NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE is not set")]
        {
            let mistake = fill(text, &values()).expect_err(text);
            assert!(mistake.contains(why), "{text}: {mistake}");
        }
    }

    #[test]
    fn a_line_is_split_before_it_is_filled_in() {
        let line = "sh -c 'echo {port}; true' {dir}";
        assert_eq!(
            words(line, &values()),
            Ok(["sh", "-c", "echo 7; true", "/a b"].map(str::to_owned).to_vec())
        );
        assert!(words("a 'b", &values()).is_err_and(|mistake| mistake.contains("quote")));
        assert!(words("  ", &values()).is_err());
    }
}
