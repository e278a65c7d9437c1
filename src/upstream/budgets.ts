import { Budget, type BudgetLimits, type BudgetState } from './budget.ts';

/** Where servers that pull under the same identity tell each other what they read and spend. */
export interface SharedBudgets {
  /** What another server has left for those who come later; undefined: nothing, or nobody can be asked. Never rejects. */
  load(key: string): Promise<BudgetState | undefined>;
  /** Tells the others, and leaves what was read for those who come later. Returns at once, and never throws. */
  publish(key: string, news: BudgetNews): void;
  /** Calls `listener` with what others publish. */
  subscribe(listener: (key: string, news: BudgetNews) => void): void;
}

export type BudgetNews =
  | { readonly kind: 'read'; readonly state: BudgetState }
  /** So many pulls are on their way, under the limit of that source as far as is known. */
  | { readonly kind: 'spent'; readonly pulls: number; readonly source?: string };

/** What happened to the budget of an identity at an upstream. */
export interface BudgetEvent {
  /** The name of the upstream in the settings. */
  readonly host: string;
  readonly state: BudgetState;
  /** Pulls under this identity since the last event that were not ours. */
  readonly foreignPulls: number;
}

export interface BudgetsOptions extends BudgetLimits {
  readonly host: string;
  readonly shared?: SharedBudgets;
  readonly onChange: (event: BudgetEvent) => void;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** The budgets of all identities that are used at one upstream. */
export class Budgets {
  readonly #options: BudgetsOptions;
  readonly #budgets = new Map<string, Budget>();

  constructor(options: BudgetsOptions) {
    this.#options = options;
    options.shared?.subscribe((key, news) => this.#heard(key, news));
  }

  of(identity: string): Budget {
    const known = this.#budgets.get(identity);
    if (known !== undefined) return known;
    const { host, lowShare, reserve, shared, onChange, now } = this.#options;
    const key = this.#key(identity);
    const budget = new Budget({
      identity,
      lowShare,
      reserve,
      now,
      onChange: (state, foreignPulls) => {
        shared?.publish(key, { kind: 'read', state });
        onChange({ host, state, foreignPulls });
      },
    });
    this.#budgets.set(identity, budget);
    void shared?.load(key).then((state) => {
      if (state !== undefined) budget.adopt(state);
    });
    return budget;
  }

  /** One pull of `identity` is on its way. */
  spend(identity: string): void {
    const { source } = this.of(identity).state;
    const from = source === undefined ? {} : { source };
    this.#options.shared?.publish(this.#key(identity), { kind: 'spent', pulls: 1, ...from });
  }

  #heard(key: string, news: BudgetNews): void {
    const prefix = this.#key('');
    if (!key.startsWith(prefix)) return;
    const budget = this.#budgets.get(key.slice(prefix.length));
    if (news.kind === 'spent') budget?.spentElsewhere(news.pulls, news.source);
    else budget?.adopt(news.state);
  }

  #key(identity: string): string {
    return `${this.#options.host} ${identity}`;
  }
}
