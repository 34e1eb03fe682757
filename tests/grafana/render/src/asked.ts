// What the test asks to be drawn, and what it is told back: the two globals of the page.

import type { Dashboard } from "@grafana/schema";

export interface Asked {
  dashboard: Dashboard;
  /** Prometheus' own address. */
  prometheus: string;
  theme: "dark" | "light";
  /** Prometheus' scrape interval, as the data source would be told. */
  scrapeInterval: string;
  /** Values for variables by name, instead of those in the dashboard. */
  variables: Record<string, string | string[]>;
}

/** What became of one panel. */
export interface Told {
  id: number;
  title: string;
  type: string;
  state: string;
  errors: string[];
  /** What can be read in the panel, without its title. */
  text: string;
  /** How many of the plots' pixels have a colour, axes and grids being grey. */
  colored: number;
  /** Names of the fields with values in the data that reached the panel, transformations applied. */
  filled: string[];
  rows: number;
}

declare global {
  interface Window {
    spendtreeAsked: Asked;
    /** Says what became of every panel, once all of them are done; null before. */
    spendtreeTold: () => Told[] | null;
    grafanaBootData: unknown;
    __grafana_public_path__: string;
    __grafanaSceneContext: unknown;
  }
}

export const asked = (): Asked => window.spendtreeAsked;
