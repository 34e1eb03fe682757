// The page around the panels, laid out as Grafana's own: title and links, time, then the variables. The
// controls are those of @grafana/scenes; the buttons of the links are ours.

import type { DashboardLink } from "@grafana/schema";
import {
  ControlsLabel,
  type SceneComponentProps,
  type SceneDataLayerSet,
  type SceneGridLayout,
  SceneObjectBase,
  type SceneObjectState,
  SceneRefreshPicker,
  SceneTimePicker,
  VariableValueSelectors,
} from "@grafana/scenes";
import { LinkButton, Stack, useTheme2 } from "@grafana/ui";

interface State extends SceneObjectState {
  title: string;
  links: DashboardLink[];
  body: SceneGridLayout;
  $data: SceneDataLayerSet;
}

interface Controls {
  variables: VariableValueSelectors;
  time: SceneTimePicker;
  refresh: SceneRefreshPicker;
}

export class Page extends SceneObjectBase<State & Controls> {
  static Component = Drawn;

  constructor(state: State) {
    super({
      ...state,
      variables: new VariableValueSelectors({}),
      time: new SceneTimePicker({ isOnCanvas: true }),
      refresh: new SceneRefreshPicker({ isOnCanvas: true, refresh: "" }),
    });
  }
}

function Drawn({ model }: SceneComponentProps<Page>) {
  const { title, links, body, variables, time, refresh, $data } = model.useState();
  const theme = useTheme2();
  const layers = $data!.state.layers.filter((layer) => !layer.state.isHidden);
  return (
    <main style={{ padding: 16, minHeight: "100vh", background: theme.colors.background.canvas }}>
      <Stack direction="column" gap={2}>
        <Stack alignItems="center" justifyContent="space-between">
          <h1 style={{ margin: 0, fontSize: 20 }}>{title}</h1>
          <Stack alignItems="center" gap={1}>
            {links.map((link) => (
              <Linked key={link.title} link={link} />
            ))}
            <time.Component model={time} />
            <refresh.Component model={refresh} />
          </Stack>
        </Stack>
        <Stack alignItems="center" gap={2} wrap="wrap">
          <variables.Component model={variables} />
          {layers.map((layer) => (
            <Stack key={layer.state.key} gap={0} alignItems="center">
              <ControlsLabel label={layer.state.name} />
              <layer.Component model={layer} />
            </Stack>
          ))}
        </Stack>
        <body.Component model={body} />
      </Stack>
    </main>
  );
}

function Linked({ link }: { link: DashboardLink }) {
  return (
    <LinkButton
      variant="secondary"
      fill="outline"
      icon={link.type === "dashboards" ? "apps" : "external-link-alt"}
      href={link.url || "#"}
    >
      {link.title}
    </LinkButton>
  );
}
