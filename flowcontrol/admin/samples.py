"""The object that expressions are tried with while a flow is being built, one per flow and session.

Until somebody chooses, it is the newest object of the flow's type. With it come the state and the
payload of the newest run about it, if the person may see runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _

from flowcontrol.admin.masks import Masks
from flowcontrol.admin.rights import may_see
from flowcontrol.conf import settings
from flowcontrol.models import Firing, FlowRun, object_reference
from flowcontrol.names import Place, loops_around, names_at
from flowcontrol.sampling import Sample, with_loop_values
from flowcontrol.schemas import with_defaults
from flowcontrol.typed_names import Name

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

    from flowcontrol.admin.flow_pages import FlowVisit

SESSION_KEY: Final = "flowcontrol_samples"
MOST_FOUND: Final = 20
MOST_REMEMBERED: Final = 50


@dataclass
class Samples:
    """The objects of a flow's type that the person behind a visit may try expressions with."""

    visit: FlowVisit
    _names: dict[Place, list[Name]] = field(default_factory=dict)

    @cached_property
    def model(self) -> type[Model] | None:
        """What the flow is about, if that is anything."""
        content_type = self.visit.flow.content_type
        return content_type.model_class() if content_type is not None else None

    @property
    def note(self) -> str:
        """Why there is no sample object, if there is none."""
        if self.model is None:
            return _("The flow is about no object.")
        plural = self.model._meta.verbose_name_plural
        if not may_see(self.visit.request, self.model):
            return _("You may not view %(objects)s, so none is tried.") % {"objects": plural}
        if self.chosen is None:
            return _("There are no %(objects)s yet.") % {"objects": plural}
        return ""

    def objects(self) -> QuerySet[Model] | None:
        """Those that may be looked at; ``None`` if none may."""
        model, request = self.model, self.visit.request
        if model is None or not may_see(request, model):
            return None
        if self.visit.site.is_registered(model):
            # It may show some people only some of them.
            return self.visit.site.get_model_admin(model).get_queryset(request)
        return model._default_manager.all()

    @cached_property
    def chosen(self) -> Model | None:
        """The object that was chosen, or else the newest."""
        objects = self.objects()
        if objects is None:
            return None
        key = self._remembered.get(str(self.visit.flow.pk))
        if key and (found := self._with_key(key)) is not None:
            return found
        newest = objects.model._meta.get_latest_by or "pk"
        names = [newest] if isinstance(newest, str) else list(newest)
        return objects.order_by(*(_backwards(name) for name in names)).first()

    def choose(self, key: str) -> bool:
        """Remember the object of this key, or with none forget; whether there is such an object."""
        remembered = {**self._remembered}
        remembered.pop(str(self.visit.flow.pk), None)
        if key:
            if self._with_key(key) is None:
                return False
            remembered[str(self.visit.flow.pk)] = key
        kept = list(remembered.items())[-MOST_REMEMBERED:]
        self.visit.request.session[SESSION_KEY] = dict(kept)
        self.__dict__.pop("chosen", None)
        return True

    def search(self, query: str) -> list[Model]:
        """Some objects that a few letters of it, or its key, mean; the newest without any."""
        objects = self.objects()
        if objects is None or "\x00" in query:  # which PostgreSQL refuses to look for
            return []
        if not query:
            return list(objects.order_by("-pk")[:MOST_FOUND])
        found: list[Model] = []
        if (exact := self._with_key(query)) is not None:
            found.append(exact)
        if self.visit.site.is_registered(objects.model):
            model_admin = self.visit.site.get_model_admin(objects.model)
            if model_admin.get_search_fields(self.visit.request):
                matching, may_repeat = model_admin.get_search_results(
                    self.visit.request, objects, query
                )
                matching = matching.distinct() if may_repeat else matching
                found += list(matching.order_by("-pk")[:MOST_FOUND])
        return list(dict.fromkeys(found))[:MOST_FOUND]

    @property
    def _remembered(self) -> Mapping[str, str]:
        stored = self.visit.request.session.get(SESSION_KEY)
        return stored if isinstance(stored, dict) else {}

    def _with_key(self, key: str) -> Model | None:
        objects = self.objects()
        if objects is None or "\x00" in key:
            return None
        try:
            return objects.filter(pk=key).first()
        except (ValidationError, ValueError, TypeError, OverflowError):
            return None

    # --- what comes with it ---

    def sample(self, place: Place, *, state: Mapping[str, Any] | None = None) -> Sample:
        """What names stand for at a place; ``state`` replaces what would be there otherwise.

        That is the state of the newest run, with what rows before the place have written out, and
        the defaults of the state schema.
        """
        obj, run = self.chosen, self._newest_run
        schema = self.visit.flow.state_schema
        if state is None:
            try:
                defaults = with_defaults(schema, {}) if schema else {}
            except ValueError:
                defaults = {}
            written = {
                name.name: name.value
                for name in self.names(place)
                if name.source == "state" and name.value is not None
            }
            masks = Masks(schema, reveal_secrets=self.visit.rights.reveal_secrets)
            known = run.state if run is not None else {}
            state = masks.state({**defaults, **written, **known})
        sample = Sample(
            flow=self.visit.flow.slug,
            obj=obj,
            state=state,
            payload=self._payload(place),
            now=settings.CLOCK(),
            user=self.visit.user,
            has_run=place.triggers is None,
        )
        if place.triggers is not None:
            return sample
        return with_loop_values(sample, loops_around(self.visit.draft, place))

    def names(self, place: Place) -> list[Name]:
        """What can be read at a place; looked for once."""
        if place not in self._names:
            self._names[place] = names_at(
                self.visit.draft, place, model=self.model, triggers=self.triggers
            )
        return self._names[place]

    @cached_property
    def _newest_run(self) -> FlowRun | None:
        if not self.visit.rights.view_runs:
            return None
        runs = FlowRun.objects.for_flow(self.visit.flow).order_by("-pk")
        if self.chosen is not None:
            runs = runs.filter(**object_reference(self.chosen))
        return runs.first()

    def _payload(self, place: Place) -> Mapping[str, Any] | None:
        """What the newest event of the triggers brought for the object."""
        request, obj = self.visit.request, self.chosen
        if obj is None or not may_see(request, Firing):
            return None
        if place.triggers is None and self._newest_run is not None:
            firing = self._newest_run.firing
            if firing is not None:
                return dict(firing.payload)
        names = place.triggers if place.triggers is not None else self.triggers
        about = Q(**object_reference(obj))
        firing = Firing.objects.filter(about, name__in=names).order_by("-at").first()
        return dict(firing.payload) if firing is not None else None

    @cached_property
    def triggers(self) -> tuple[str, ...]:
        """The triggers that start the flow."""
        rows = self.visit.flow.triggers.order_by("name")
        return tuple(rows.values_list("name", flat=True).distinct())


def _backwards(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"
