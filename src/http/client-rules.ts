import type { FailMode } from './error-response.ts';
import { networkMatcher } from './networks.ts';

/** What holds for the clients of a network; what is absent is as for everybody. */
export interface ClientRule {
  /** CIDR notation. */
  readonly network: string;
  readonly failMode?: FailMode;
}

/** Finds the first rule whose network holds an address; undefined if none does. */
export function clientRuleFinder(rules: readonly ClientRule[]): (address: string) => ClientRule | undefined {
  const compiled = rules.map((rule) => ({ rule, matches: networkMatcher([rule.network]) }));
  return function ruleFor(address) {
    return compiled.find(({ matches }) => matches(address))?.rule;
  };
}
