import { parsePlatform, type Platform } from '../oci/platform.ts';
import type { FailMode } from './error-response.ts';
import { networkMatcher } from './networks.ts';

/** What holds for the clients of a network; what is absent is as for everybody. */
export interface ClientRule {
  /** CIDR notation. */
  readonly network: string;
  readonly failMode?: FailMode;
  /** `os/architecture[/variant]`: what its clients run, whatever they say of themselves. */
  readonly platform?: string;
  /** `always`: lists are resolved for that platform for clients that take lists, too. */
  readonly resolve?: 'always' | 'negotiate';
}

export type FoundRule = Omit<ClientRule, 'network' | 'platform'> & { readonly platform?: Platform };

/** Finds the first rule whose network holds an address; undefined if none does. */
export function clientRuleFinder(rules: readonly ClientRule[]): (address: string) => FoundRule | undefined {
  const compiled = rules.map(({ network, platform: text, ...rule }) => {
    const platform = text === undefined ? undefined : parsePlatform(text);
    return {
      matches: networkMatcher([network]),
      rule: platform === undefined ? rule : { ...rule, platform },
    };
  });
  return function ruleFor(address) {
    return compiled.find(({ matches }) => matches(address))?.rule;
  };
}
