// What a panel without data shows.

import { useTheme2 } from "@grafana/ui";

export const NO_DATA = "No data";

export function NoData({ text = NO_DATA }: { text?: string }) {
  const theme = useTheme2();
  return (
    <div
      style={{
        height: "100%",
        display: "grid",
        placeItems: "center",
        color: theme.colors.text.secondary,
      }}
    >
      {text || NO_DATA}
    </div>
  );
}
