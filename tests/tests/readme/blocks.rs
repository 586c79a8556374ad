//! Blocks of code and command lines, taken out of the README. Knows nothing of what they mean.

const README: &str = include_str!("../../../README.md");

/// The fenced blocks of a language, in their order.
pub fn blocks(language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let blocks: Vec<String> = README
        .split(&opening)
        .skip(1)
        .map(|rest| rest.split_once("```").expect("a block ends").0.to_owned())
        .collect();
    assert!(!blocks.is_empty(), "the README has no block of {language}");
    blocks
}

/// The arguments of each command line of ours that is indented as code, patterns such as `[--config FILE]` left out.
pub fn commands() -> Vec<Vec<String>> {
    let lines = README.lines().filter_map(|line| line.strip_prefix("    "));
    let lines = lines.filter(|line| !line.starts_with(' ') && !line.contains(" ["));
    let words = lines.flat_map(pipeline);
    words
        .filter(|words| words.first().is_some_and(|word| word == "hayate"))
        .map(|words| words[1..].to_vec())
        .collect()
}

/// The words of each command of a line of shell: quotes, pipes, comments and one redirection at the end, as the README needs them.
fn pipeline(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '#' | '>') if word.is_empty() => break,
            (None, '|') => commands.push(std::mem::take(&mut words)),
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (None, _) => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    commands.push(words);
    commands
}

#[test]
fn a_line_of_shell_is_taken_apart() {
    let line = "echo 'key:a record' | hayate consume orders --format '%p %o\\n'   > file # so";
    let expected: [&[&str]; 2] =
        [&["echo", "key:a record"], &["hayate", "consume", "orders", "--format", "%p %o\\n"]];
    assert_eq!(pipeline(line), expected);
}
