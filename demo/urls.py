"""The demo's pages: the admin, and the way there."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

admin.site.site_header = "Operations desk"
admin.site.site_title = "Operations desk"
admin.site.index_title = "Flights and flows"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
]
