import type { z } from 'zod';
import type { Raw } from './fields.ts';

/** One row of the table that validation, environment, flags, the settings file and the documentation come from. */
export interface Setting {
  /** Undefined: it can only stand in a settings file. */
  readonly env?: string;
  readonly flag?: string;
  /** What stands for the value in help texts; undefined: a switch, which `--no-…` turns off. */
  readonly argument?: string;
  readonly default?: Raw;
  /** What a settings file may show where there is no default. */
  readonly example?: Raw;
  /** The unit or the allowed values, as the end of a sentence. */
  readonly allowed: string;
  readonly help: string;
  /**
   * - `secret`: never shown · `url`: shown without user name, password and query
   * - `folder`, `file`: a path from the working folder; a file must be readable at the start
   */
  readonly holds?: 'secret' | 'url' | 'folder' | 'file';
  /** What is wrong with what the file holds, as the end of a sentence; undefined: nothing. */
  readonly fileProblem?: (text: string) => string | undefined;
  /** The key whose value is what the file holds, without the end of its line. */
  readonly holdsValueOf?: string;
  /** Keys that say the same in another way: an error from the same source, set aside from a weaker one. */
  readonly excludes?: readonly string[];
  /** Keys of which at least one must stand beside it. */
  readonly needs?: readonly string[];
  readonly schema: z.ZodType;
}
