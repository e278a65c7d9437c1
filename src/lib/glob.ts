/** A character that stands for itself, or a wildcard: `*` within a path component, `**` across. */
type Token = string;

/** Where a wildcard can take one character more: the token behind it, and how far it reaches. */
interface Wildcard {
  readonly next: number;
  end: number;
}

/**
 * A test for names against `pattern`, anchored at both ends: `*` stands for anything within a path component, `**`
 * for anything at all; everything else stands for itself.
 *
 * It is no regular expression: names come from clients, and one of dashes would be tried in millions of ways against
 * `*-*-*-*`. Of each kind only the last wildcard ever has to take more, for those before it took as little as they can.
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
