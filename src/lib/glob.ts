/** A literal character, or a wildcard: `*` within a path component, `**` across. */
type Token = string;

/** A wildcard that can match one character more: the index of the next token, and the end of its match. */
interface Wildcard {
  readonly next: number;
  end: number;
}

/**
 * A test of names against `pattern`, anchored at both ends. `*` matches any text within a path component, `**` any
 * text; other characters match themselves.
 *
 * This is not a regular expression: names come from clients, and a name of dashes would make `*-*-*-*` backtrack
 * millions of times. Only the last wildcard of each kind ever needs to grow, because earlier ones took as little as
 * they can.
 */
export function compileGlob(pattern: string): (name: string) => boolean {
  const tokens = pattern
    .split(/(\*+)/)
    .flatMap((part) => (part.startsWith('*') ? [part === '*' ? '*' : '**'] : part.split('')));
  return (name) => matches(tokens, name);
}

function matches(tokens: readonly Token[], name: string): boolean {
  let within: Wildcard | undefined;
  let across: Wildcard | undefined;
  let token = 0;
  let at = 0;
  while (token < tokens.length || at < name.length) {
    const expected = tokens[token];
    if (expected === '*' || expected === '**') {
      token++;
      const wildcard = { next: token, end: at };
      if (expected === '**') across = wildcard;
      within = expected === '*' ? wildcard : undefined;
    } else if (at < name.length && expected === name[at]) {
      token++;
      at++;
    } else {
      if (within !== undefined && !canTake(within, name, '/')) within = undefined;
      const longer = within ?? across;
      if (longer === undefined || !canTake(longer, name)) return false;
      longer.end++;
      token = longer.next;
      at = longer.end;
    }
  }
  return true;
}

function canTake({ end }: Wildcard, name: string, except?: string): boolean {
  return end < name.length && name[end] !== except;
}
