import type { BudgetNews, BudgetState, SharedBudgets } from '../../oci/pull-limit.ts';
import type { BudgetEvent } from '../events.ts';
import { Budget, type BudgetLimits } from './pull-limit.ts';

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
      host,
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
      if (state !== undefined) this.#adopt(budget, state);
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
    if (budget === undefined) return;
    if (news.kind === 'spent') budget.spentElsewhere(news.pulls, news.source);
    else this.#adopt(budget, news.state);
  }

  /** Shown here as well, and not told to the others once more. */
  #adopt(budget: Budget, state: BudgetState): void {
    const { host, onChange } = this.#options;
    if (budget.adopt(state)) onChange({ host, state: budget.state, foreignPulls: 0 });
  }

  #key(identity: string): string {
    return `${this.#options.host} ${identity}`;
  }
}
