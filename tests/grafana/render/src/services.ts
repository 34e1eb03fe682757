// The services of Grafana's application that its packages ask for: here the least that draws.

import {
  type DataSourceApi,
  type DataSourceInstanceSettings,
  EventBusSrv,
  LoadingState,
  type PanelData,
  PluginType,
} from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import {
  setAppEvents,
  setChromeHeaderHeightHook,
  setDataSourceSrv,
  setEchoSrv,
  FakeEchoSrv,
  setPluginImportUtils,
  setRunRequest,
  setTemplateSrv,
  toDataQueryError,
} from "@grafana/runtime";
import { catchError, map, type Observable, of, startWith } from "rxjs";

import { panelPlugin } from "./panels";
import { interpolate } from "./prometheus";

export async function startServices(prometheus: DataSourceApi): Promise<void> {
  await initPluginTranslations("grafana", []);
  setAppEvents(new EventBusSrv());
  setEchoSrv(new FakeEchoSrv());
  setChromeHeaderHeightHook(() => 0);
  setPluginImportUtils({
    importPanelPlugin: async (id) => panelPlugin(id),
    getPanelPluginFromCache: panelPlugin,
  });
  setTemplateSrv({
    getVariables: () => [],
    replace: (text = "", scoped = {}) => interpolate(text, scoped),
    containsTemplate: (text) => /\$/.test(text ?? ""),
    updateTimeRange: () => undefined,
  });
  const settings = settingsOf(prometheus);
  setDataSourceSrv({
    get: async () => prometheus,
    getInstanceSettings: () => settings,
    getList: () => [settings],
    reload: async () => undefined,
    registerRuntimeDataSource: () => undefined,
  });
  setRunRequest((source, request, query) => {
    const empty: PanelData = {
      state: LoadingState.Loading,
      series: [],
      annotations: [],
      timeRange: request.range,
      request,
    };
    const answer = (query ?? source.query.bind(source))(request) as Observable<{ data: [] }>;
    return answer.pipe(
      map(({ data }): PanelData => ({ ...empty, state: LoadingState.Done, series: data })),
      startWith(empty),
      catchError((error: unknown) => {
        const told = toDataQueryError(error as Error);
        return of({ ...empty, state: LoadingState.Error, error: told, errors: [told] });
      }),
    );
  });
}

function settingsOf(source: DataSourceApi): DataSourceInstanceSettings {
  return {
    id: 1,
    uid: source.uid,
    type: source.type,
    name: "Prometheus",
    meta: { ...source.meta, name: "Prometheus", type: PluginType.datasource, metrics: true },
    readOnly: true,
    jsonData: {},
    access: "proxy",
    isDefault: true,
  };
}
