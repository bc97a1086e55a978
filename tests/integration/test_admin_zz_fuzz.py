import pytest, itertools
from tests.integration.test_admin_rights import site, RULES
from tests.admin_pages import client_of, url
pytestmark = pytest.mark.django_db
ODD=["", "abc", "-1", "9"*400, "\x00", "é☃", "[]", "{}", "None", "1e400", "' or 1=1", "../..", "\ud800".encode("utf-8","surrogatepass")]
FIELDS=["revision","target","position","action","step","enabled","on","q","state","row","reason","key","not_before","note","history","_selected_action","select_across","index","confirmed","name","slug","content_type","identity","condition","state_schema","retention","active_at","config-message","config-level__mode","label","retry","result_key","flow","mode","action_uid","purge","triggers-TOTAL_FORMS","triggers-INITIAL_FORMS","p","o","all","e","flow__id__exact","status__exact","parent_run__id__exact","version__id__exact","matched","tab","_popup","_to_field","object_id","config-state"]
@pytest.mark.parametrize("name", RULES)
def test_fuzz(site,name):
    c=client_of(is_superuser=True); c.raise_request_exception=False
    bad=[]
    from flowcontrol.models import Flow
    for f in FIELDS:
        for o in ODD:
            path=site.path(name)
            r=c.get(path,{f:o}); 
            if r.status_code>=500: bad.append(("GET",f,o))
            base={"revision":site.flow.draft_revision,"action":"cancel","_selected_action":site.run.pk,"confirmed":"1","reason":"x","name":"demo.flight_cancelled","position":"last","target":"","step":"down","mode":"start","flow":site.flow.pk,"triggers-TOTAL_FORMS":0,"triggers-INITIAL_FORMS":0}
            if name in("flow_delete","flow_delete_row","trigger_delete"): continue
            r=c.post(path,{**base,f:o})
            if r.status_code>=500: bad.append(("POST",f,o,str(r.exc_info[1])[:80] if hasattr(r,"exc_info") and r.exc_info else ""))
    assert not bad
