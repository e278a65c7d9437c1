export const PACKAGES: Readonly<Record<string, string>>;
export function missingRequirements(): string[];
export function requirementsOf(file: string): string[];
export function stuckTests(): { readonly file: string; readonly missing: readonly string[] }[];
